from tests.peers.fixtures import baresip, raw_socket, rtp_peer, sipp, utterance

__all__ = ["baresip", "raw_socket", "rtp_peer", "sipp", "utterance"]
