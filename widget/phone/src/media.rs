//! Microphone, speakers and one `RTCPeerConnection` per call.
