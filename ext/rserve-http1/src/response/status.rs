//! Status codes of responses: their reason phrases, and whether a body follows (RFC 9110 §15).

/// Whether a final response can have this status: 100 to 999, as anything else is not three digits long.
pub fn is_legal(status: i64) -> bool {
    (100..=999).contains(&status)
}

/// Its reason phrase; `CUSTOM`, as Puma has it, for a status without one.
pub fn reason(status: u16) -> &'static str {
    known_reason(status).unwrap_or("CUSTOM")
}

/// Every status that has a reason phrase, and the phrase.
pub fn reasons() -> impl Iterator<Item = (u16, &'static str)> {
    (100..=999).filter_map(|status| Some((status, known_reason(status)?)))
}

/// Puma's table, from 6 to 8.
fn known_reason(status: u16) -> Option<&'static str> {
    Some(match status {
        100 => "Continue",
        101 => "Switching Protocols",
        102 => "Processing",
        103 => "Early Hints",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        207 => "Multi-Status",
        208 => "Already Reported",
        226 => "IM Used",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        305 => "Use Proxy",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        423 => "Locked",
        424 => "Failed Dependency",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        506 => "Variant Also Negotiates",
        507 => "Insufficient Storage",
        508 => "Loop Detected",
        510 => "Not Extended (OBSOLETED)",
        511 => "Network Authentication Required",
        _ => return None,
    })
}

/// Whether a response with this status has no body whatever its fields say: 1xx, 204, 205 and 304.
pub fn no_body(status: u16) -> bool {
    status < 200 || matches!(status, 204 | 205 | 304)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_a_phrase_that_may_be_sent() {
        let known: Vec<_> = reasons().collect();
        assert_eq!((known.len(), known[0], known[known.len() - 1].0), (61, (100, "Continue"), 511));
        assert!(known.iter().all(|&(status, phrase)| is_legal(status.into()) && reason(status) == phrase));
        for (status, want) in
            [(418, "CUSTOM"), (425, "Too Early"), (510, "Not Extended (OBSOLETED)"), (999, "CUSTOM")]
        {
            assert_eq!(reason(status), want, "{status}");
        }
    }

    #[test]
    fn some_have_no_body() {
        for (status, want) in
            [(100, true), (199, true), (200, false), (204, true), (205, true), (206, false), (304, true)]
        {
            assert_eq!(no_body(status), want, "{status}");
        }
    }
}
