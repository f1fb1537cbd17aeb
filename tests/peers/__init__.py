"""Foreign SIP parties (SIPp, baresip) and an independent RTP peer: what the duty line is measured against."""
