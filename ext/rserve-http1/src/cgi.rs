//! CGI names of header fields (RFC 3875 §4.1.18), as Rack's environment spells them.

/// Appends the environment key of the field `name`: `HTTP_` and the name in upper case with `-` as `_`;
/// `CONTENT_TYPE` and `CONTENT_LENGTH` have no prefix.
///
/// Which fields belong into the environment at all is in [`crate::Field::visible`], and which are appended to an
/// earlier one with `", "` in [`crate::Field::repeated`].
pub fn env_name(name: &[u8], out: &mut Vec<u8>) {
    let unprefixed =
        name.eq_ignore_ascii_case(b"content-type") || name.eq_ignore_ascii_case(b"content-length");
    if !unprefixed {
        out.extend_from_slice(b"HTTP_");
    }
    out.extend(name.iter().map(env_octet));
}

/// Whether two field names have the same environment key.
pub(crate) fn same_name(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().map(env_octet).eq(other.iter().map(env_octet))
}

fn env_octet(octet: &u8) -> u8 {
    match octet {
        b'-' => b'_',
        octet => octet.to_ascii_uppercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_rack_keys() {
        for (name, want) in [
            ("Host", "HTTP_HOST"),
            ("x-forwarded-For", "HTTP_X_FORWARDED_FOR"),
            ("x_a-b", "HTTP_X_A_B"),
            ("content-type", "CONTENT_TYPE"),
            ("CONTENT-LENGTH", "CONTENT_LENGTH"),
            ("content-lengths", "HTTP_CONTENT_LENGTHS"),
            ("a.b~1", "HTTP_A.B~1"),
        ] {
            let mut out = Vec::new();
            env_name(name.as_bytes(), &mut out);
            assert_eq!(str::from_utf8(&out), Ok(want));
        }
    }
}
