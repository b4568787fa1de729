//! Who may read where the threads are: whoever knows the control server's token.

use super::answer::Request;

/// Nobody gets them who does not say the token of a server that has one.
const WANTED: &str =
    "backtraces want the control server's token, as ?token=TOKEN or Authorization: Bearer TOKEN\n";
const NONE: &str =
    "backtraces want the control server's token, and this server has none: see activate_control_app\n";

/// Whether `request` has the `token`, in its query or as a bearer token (RFC 6750 §2.1).
///
/// # Errors
///
/// The line that says what is missing.
pub(super) fn check(request: &Request<'_>, token: Option<&str>) -> Result<(), &'static str> {
    let token = token.ok_or(NONE)?.as_bytes();
    let by_query = request.parameter("token").map(decoded);
    let by_field = bearer(request.authorization).map(<[u8]>::to_vec);
    let given = by_query.into_iter().chain(by_field);
    if given.fold(false, |known, given| same(&given, token) | known) { Ok(()) } else { Err(WANTED) }
}

/// `Bearer TOKEN`; the scheme's case does not matter (RFC 9110 §11.1).
fn bearer(authorization: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = authorization.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

/// In a time that does not tell how much of it is right.
fn same(given: &[u8], token: &[u8]) -> bool {
    let mut difference = given.len() ^ token.len();
    for (index, octet) in token.iter().enumerate() {
        difference |= usize::from(octet ^ given.get(index).unwrap_or(&0));
    }
    std::hint::black_box(difference) == 0
}

/// A value of a query (`application/x-www-form-urlencoded`), as the control server reads it.
fn decoded(value: &[u8]) -> Vec<u8> {
    let digit = |octet: &u8| (*octet as char).to_digit(16);
    let mut out = Vec::with_capacity(value.len());
    let mut rest = value;
    while let [first, after @ ..] = rest {
        let escaped = match (first, after) {
            (b'%', [high, low, ..]) => digit(high).zip(digit(low)),
            _ => None,
        };
        out.push(match (escaped, first) {
            (Some((high, low)), _) => (high * 16 + low) as u8,
            (None, b'+') => b' ',
            (None, octet) => *octet,
        });
        rest = if escaped.is_some() { &after[2..] } else { after };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_wanted_in_one_of_two_places() {
        for (query, authorization, token, known) in [
            ("backtrace=1&token=secret", "", Some("secret"), true),
            ("token=a%2Bb%20c+d%", "", Some("a+b c d%"), true),
            ("", "Bearer secret", Some("secret"), true),
            ("", "bearer  secret", Some("secret"), true),
            ("token=wrong", "Bearer secret", Some("secret"), true),
            ("token=secret", "Bearer wrong", Some("secret"), true),
            ("token=secre", "", Some("secret"), false),
            ("token=secrets", "", Some("secret"), false),
            ("token=secreT", "", Some("secret"), false),
            ("token=", "", Some("secret"), false),
            ("token", "", Some("secret"), false),
            ("", "", Some("secret"), false),
            ("", "Basic secret", Some("secret"), false),
            ("", "Bearer", Some("secret"), false),
            ("", "Bearer ", Some("secret"), false),
            ("token=", "", None, false),
            ("token=none", "Bearer none", None, false),
        ] {
            let request = Request {
                query: query.as_bytes(),
                authorization: authorization.as_bytes(),
                ..Request::default()
            };
            assert_eq!(check(&request, token).is_ok(), known, "{query} {authorization} {token:?}");
        }
    }
}
