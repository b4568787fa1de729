//! The calendar, as far as HTTP and its logs need it.

/// Appends a time as `Sun, 06 Nov 1994 08:49:37 GMT` (IMF-fixdate, RFC 9110 §5.6.7), the value of a Date field.
///
/// `seconds` count from 1970 without leap seconds, as Unix time does; up to the year 9999.
pub fn date(out: &mut Vec<u8>, seconds: u64) {
    const DAYS: [&[u8; 3]; 7] = [b"Thu", b"Fri", b"Sat", b"Sun", b"Mon", b"Tue", b"Wed"];
    let (days, second_of_day) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let two_digits = |out: &mut Vec<u8>, number: u64| {
        out.extend_from_slice(&[b'0' + (number / 10 % 10) as u8, b'0' + (number % 10) as u8]);
    };
    out.extend_from_slice(DAYS[(days % 7) as usize]);
    out.extend_from_slice(b", ");
    two_digits(out, day);
    out.push(b' ');
    out.extend_from_slice(MONTHS[month as usize]);
    out.push(b' ');
    two_digits(out, year / 100);
    two_digits(out, year);
    for (separator, number) in
        [(b' ', second_of_day / 3600), (b':', second_of_day / 60 % 60), (b':', second_of_day % 60)]
    {
        out.push(separator);
        two_digits(out, number);
    }
    out.extend_from_slice(b" GMT");
}

const MONTHS: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

/// The seconds since 1970 of a time in any of the three forms that a recipient must take (RFC 9110 §5.6.7); `None` of anything
/// else, and of times before 1970. `now` decides about years of two digits.
pub fn parse_date(text: &[u8], now: u64) -> Option<u64> {
    let mut words = text.split(|&octet| octet == b' ').filter(|word| !word.is_empty());
    let first = words.next()?;
    let (day, month, year, time) = if first.len() == 4 && first[3] == b',' {
        // Sun, 06 Nov 1994 08:49:37 GMT
        (number(words.next()?, 2)?, month(words.next()?)?, number(words.next()?, 4)?, words.next()?)
    } else if first.last() == Some(&b',') {
        // Sunday, 06-Nov-94 08:49:37 GMT
        let mut date = words.next()?.split(|&octet| octet == b'-');
        let (day, month) = (number(date.next()?, 2)?, month(date.next()?)?);
        let year = century(number(date.next()?, 2)?, now);
        (day, month, year, date.next().is_none().then(|| words.next())??)
    } else {
        // Sun Nov  6 08:49:37 1994
        let (month, day) = (month(words.next()?)?, words.next()?);
        let (time, year) = (words.next()?, number(words.next()?, 4)?);
        return seconds(number(day, day.len().clamp(1, 2))?, month, year, time)
            .filter(|_| words.next().is_none());
    };
    let ends = words.next() == Some(b"GMT") && words.next().is_none();
    seconds(day, month, year, time).filter(|_| ends)
}

/// Of years with these last two digits the one that is nearest to `now`, and no more than 50 years after it.
fn century(digits: u64, now: u64) -> u64 {
    let (this, ..) = civil(now / 86_400);
    let year = this - this % 100 + digits;
    if year > this + 50 { year - 100 } else { year }
}

fn number(octets: &[u8], digits: usize) -> Option<u64> {
    crate::grammar::decimal(octets).filter(|_| octets.len() == digits)
}

/// From 0.
fn month(name: &[u8]) -> Option<u64> {
    MONTHS.iter().position(|month| month.as_slice() == name).map(|at| at as u64)
}

/// The inverse of [`civil`], with the time of the day.
fn seconds(day: u64, month: u64, year: u64, time: &[u8]) -> Option<u64> {
    let mut parts = time.split(|&octet| octet == b':');
    let mut part = |limit| number(parts.next()?, 2).filter(|&part| part < limit);
    // A leap second has no number of its own.
    let (hours, minutes, seconds) = (part(24)?, part(60)?, part(61)?.min(59));
    if parts.next().is_some() || year < 1970 {
        return None;
    }
    let (month_from_march, year_from_march) = ((month + 10) % 12, year - u64::from(month < 2));
    let (era, year_of_era) = (year_from_march / 400, year_from_march % 400);
    let day_of_year = (153 * month_from_march + 2) / 5 + day.checked_sub(1)?;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = (era * 146_097 + day_of_era).checked_sub(719_468)?;
    // There is no 30 February.
    let exists = civil(days) == (year, month, day);
    exists.then_some(((days * 24 + hours) * 60 + minutes) * 60 + seconds)
}

/// Year, month from 0 and day from 1 of the Gregorian calendar.
pub fn civil(days_since_1970: u64) -> (u64, u64, u64) {
    // Counted from 1 March of the year 0, so that a leap day is the last one of its year. 719,468 days lie between.
    let days = days_since_1970 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Months from March have 31, 30, 31, 30, 31 days over and over: 153 in five.
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12;
    let year = era * 400 + year_of_era + u64::from(month < 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, want) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (951_868_799, "Tue, 29 Feb 2000 23:59:59 GMT"),
            (1_709_164_800, "Thu, 29 Feb 2024 00:00:00 GMT"),
            (1_735_689_599, "Tue, 31 Dec 2024 23:59:59 GMT"),
            (1_735_689_600, "Wed, 01 Jan 2025 00:00:00 GMT"),
            (4_107_542_399, "Sun, 28 Feb 2100 23:59:59 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
            (253_402_300_799, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            let mut out = Vec::new();
            date(&mut out, seconds);
            assert_eq!(String::from_utf8(out).unwrap(), want);
        }
    }

    #[test]
    fn times_are_read_in_the_three_forms_that_there_are() {
        const NOW: u64 = 1_795_737_600; // 2026
        for (text, want) in [
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(784_111_777)),
            ("Sun Nov  6 08:49:37 1994", Some(784_111_777)),
            ("Sun Nov 06 08:49:37 1994", Some(784_111_777)),
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("Tue, 29 Feb 2000 00:00:00 GMT", Some(951_782_400)),
            ("Tue, 31 Dec 2024 23:59:60 GMT", Some(1_735_689_599)),
            ("Fri, 31 Dec 9999 23:59:59 GMT", Some(253_402_300_799)),
            ("Friday, 31-Dec-76 00:00:00 GMT", Some(3_376_598_400)),
            ("Friday, 31-Dec-77 00:00:00 GMT", Some(252_374_400)),
            // What it says of the day of the week is not compared.
            ("Mon, 06 Nov 1994 08:49:37 GMT", Some(784_111_777)),
            ("Wed, 29 Feb 2023 00:00:00 GMT", None),
            ("Wed, 00 Jan 2023 00:00:00 GMT", None),
            ("Wed, 31 Apr 2023 00:00:00 GMT", None),
            ("Wed, 31 Dec 1969 23:59:59 GMT", None),
            ("Sun, 06 Nov 1994 24:00:00 GMT", None),
            ("Sun, 06 Nov 1994 08:60:37 GMT", None),
            ("Sun, 06 Nov 1994 08:49:37", None),
            ("Sun, 06 Nov 1994 08:49:37 UTC", None),
            ("Sun, 06 Nov 1994 08:49:37 GMT GMT", None),
            ("Sun, 6 Nov 1994 08:49:37 GMT", None),
            ("Sun, 06 Nov 94 08:49:37 GMT", None),
            ("Sun, 06 nov 1994 08:49:37 GMT", None),
            ("Sun, 06 Nov 1994 8:49:37 GMT", None),
            ("Sunday, 06-Nov-94-1 08:49:37 GMT", None),
            ("Sun Nov  6 08:49:37 1994 GMT", None),
            ("784111777", None),
            ("", None),
            (" ", None),
            (",", None),
        ] {
            assert_eq!(parse_date(text.as_bytes(), NOW), want, "{text:?}");
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for seconds in (0..5_000_000_000).step_by(86_399 * 7 + 1) {
            let mut out = Vec::new();
            date(&mut out, seconds);
            assert_eq!(parse_date(&out, 0), Some(seconds), "{}", String::from_utf8_lossy(&out));
        }
    }
}
