//! Why a stream or a connection ends (RFC 9113 §7).

/// An error code.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[repr(u32)]
#[allow(missing_docs, reason = "the names are those of RFC 9113 §7")]
pub enum Reason {
    #[error("NO_ERROR")]
    NoError = 0,
    #[error("PROTOCOL_ERROR")]
    ProtocolError = 1,
    #[error("INTERNAL_ERROR")]
    InternalError = 2,
    #[error("FLOW_CONTROL_ERROR")]
    FlowControlError = 3,
    #[error("SETTINGS_TIMEOUT")]
    SettingsTimeout = 4,
    #[error("STREAM_CLOSED")]
    StreamClosed = 5,
    #[error("FRAME_SIZE_ERROR")]
    FrameSizeError = 6,
    #[error("REFUSED_STREAM")]
    RefusedStream = 7,
    #[error("CANCEL")]
    Cancel = 8,
    #[error("COMPRESSION_ERROR")]
    CompressionError = 9,
    #[error("CONNECT_ERROR")]
    ConnectError = 10,
    #[error("ENHANCE_YOUR_CALM")]
    EnhanceYourCalm = 11,
    #[error("INADEQUATE_SECURITY")]
    InadequateSecurity = 12,
    #[error("HTTP_1_1_REQUIRED")]
    Http11Required = 13,
}
