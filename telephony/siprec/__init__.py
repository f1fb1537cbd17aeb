"""Recording without standing on the line: a PBX or SBC forks its calls to us (SIPREC, RFC 7245, 7865, 7866)."""
