//! What clients say of content never leads outside of it: paths, ranges, codings, conditions and times. The first line is a
//! path, the second a list of codings, the third a range, the others a length and what else there is.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rserve_http1::content::codings::{Acceptance, Coding};
use rserve_http1::content::conditions::{Conditions, Validators};
use rserve_http1::content::ranges::{self, MOST, Part, Wanted};
use rserve_http1::content::paths;
use rserve_http1::{date, parse_date};

fuzz_target!(|octets: &[u8]| {
    let mut lines = octets.split(|&octet| octet == b'\n');
    let mut line = || lines.next().unwrap_or_default();

    let path = line();
    for at in ["", "/assets"] {
        if let Some(name) = paths::below(path, at.as_bytes()) {
            assert!(!name.contains(&0) && !name.contains(&b'\\') && !name.starts_with(b"/"));
            let hidden = |(at, part): (usize, &[u8])| part.starts_with(b".") && !(at == 0 && part == b".well-known");
            assert!(!name.split(|&octet| octet == b'/').enumerate().any(hidden));
            assert!(name.is_empty() || name.split(|&octet| octet == b'/').all(|part| !part.is_empty()));
            assert!(name.ends_with(paths::extension(&name)));
            paths::is_digested(&name);
        }
    }

    let accepted = Acceptance::of([line()]);
    let ranked: Vec<_> = accepted.ranked(&Coding::ALL).collect();
    assert!(ranked.windows(2).all(|pair| accepted.quality(pair[0]) >= accepted.quality(pair[1])));
    for coding in Coding::ALL {
        assert_eq!(ranked.contains(&coding), accepted.quality(coding) > 0);
        assert!(accepted.quality(coding) <= 1000);
    }

    let range = line();
    let length = line().iter().fold(0_u64, |sum, &octet| sum.wrapping_mul(257).wrapping_add(octet.into()));
    if let Wanted::Parts(parts) = ranges::wanted(range, length) {
        assert!(!parts.is_empty() && parts.len() <= MOST);
        assert!(parts.iter().all(|part| part.start < part.end && part.end <= length));
        let sum: u128 = parts.iter().map(|part| u128::from(part.end - part.start)).sum();
        assert!(sum <= u128::from(length));
        let multipart = ranges::multipart(&parts, None, length, "b");
        let sent: u128 = multipart.iter().filter(|part| matches!(part, Part::File(_))).map(|part| u128::from(part.length())).sum();
        assert_eq!(sent, sum);
    }

    let (given, etag) = (line(), line());
    if let Some(time) = parse_date(given, 1_795_737_600) {
        let mut written = Vec::new();
        date(&mut written, time);
        assert_eq!(parse_date(&written, 0), Some(time));
    }
    let conditions = Conditions {
        if_match: vec![given],
        if_none_match: vec![etag],
        if_modified_since: Some(given),
        if_unmodified_since: Some(given),
        if_range: Some(given),
    };
    let validators = Validators { etag: Some(etag), modified: Some(784_111_777) };
    conditions.verdict(validators, 1_795_737_600);
    conditions.let_range(validators, 1_795_737_600);
});
