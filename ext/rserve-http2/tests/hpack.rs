//! HPACK: the examples of RFC 7541, Appendix C, and what is no header block.

use rserve_http2::FieldList;
use rserve_http2::hpack::{Decoder, Encoder, Fault};

fn octets(hex: &str) -> Vec<u8> {
    let digits: Vec<_> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).expect("ASCII"), 16).expect("hex"))
        .collect()
}

fn text(fields: &FieldList) -> String {
    let fields = fields.iter().map(|(name, value)| {
        format!("{}: {}\n", String::from_utf8_lossy(name), String::from_utf8_lossy(value))
    });
    fields.collect()
}

fn decode(decoder: &mut Decoder, block: &[u8]) -> Result<String, Fault> {
    let mut fields = FieldList::new(1 << 16);
    decoder.decode(block, &mut fields).map(|()| text(&fields))
}

const LONG_COOKIE: &str = "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1";

#[test]
fn appendix_c() {
    let requests = [
        ":method: GET\n:scheme: http\n:path: /\n:authority: www.example.com\n",
        ":method: GET\n:scheme: http\n:path: /\n:authority: www.example.com\ncache-control: no-cache\n",
        ":method: GET\n:scheme: https\n:path: /index.html\n:authority: www.example.com\ncustom-key: custom-value\n",
    ];
    let common = "date: Mon, 21 Oct 2013 20:13:21 GMT\nlocation: https://www.example.com\n";
    let last = common.replace(":21 GMT", ":22 GMT");
    let responses = [
        format!(":status: 302\ncache-control: private\n{common}"),
        format!(":status: 307\ncache-control: private\n{common}"),
        format!(
            ":status: 200\ncache-control: private\n{last}content-encoding: gzip\nset-cookie: {LONG_COOKIE}\n"
        ),
    ];
    let requests = requests.map(str::to_owned);
    for (section, size, blocks, want) in [
        (
            "C.3",
            "",
            [
                "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
                "8286 84be 5808 6e6f 2d63 6163 6865",
                "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
            ],
            &requests,
        ),
        (
            "C.4",
            "",
            [
                "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
                "8286 84be 5886 a8eb 1064 9cbf",
                "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
            ],
            &requests,
        ),
        (
            "C.5",
            "3fe1 01",
            [
                "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133
                 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
                "4803 3330 37c1 c0bf",
                "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a
                 6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d
                 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e 3d31",
            ],
            &responses,
        ),
        (
            "C.6",
            "3fe1 01",
            [
                "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d
                 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
                "4883 640e ffc1 c0bf",
                "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d
                 d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106
                 3d50 07",
            ],
            &responses,
        ),
    ] {
        let mut decoder = Decoder::default();
        for (at, (block, want)) in blocks.iter().zip(want).enumerate() {
            let before = if at == 0 { size } else { "" };
            let block = [octets(before), octets(block)].concat();
            assert_eq!(decode(&mut decoder, &block).as_ref(), Ok(want), "{section}.{}", at + 1);
        }
    }
    // C.2: one field each.
    for (block, want) in [
        ("400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572", "custom-key: custom-header\n"),
        ("040c 2f73 616d 706c 652f 7061 7468", ":path: /sample/path\n"),
        ("1008 7061 7373 776f 7264 0673 6563 7265 74", "password: secret\n"),
        ("82", ":method: GET\n"),
    ] {
        assert_eq!(decode(&mut Decoder::default(), &octets(block)).as_deref(), Ok(want));
    }
}

#[test]
fn what_is_no_header_block() {
    for (block, fault) in [
        ("80", Fault::Index),
        ("be", Fault::Index),
        ("7f 00 01 61", Fault::Index),
        ("ff 80 ff ff ff 0f", Fault::Index),
        ("ff ff ff ff ff 0f", Fault::Integer),
        ("ff ff ff ff ff ff 0f", Fault::Integer),
        ("ff 80 80 80 80 80 80 01", Fault::Integer),
        ("ff", Fault::Truncated),
        ("40", Fault::Truncated),
        ("40 03 61 62", Fault::Truncated),
        ("40 01 61", Fault::Truncated),
        ("40 01 61 05 62", Fault::Truncated),
        ("00 01 61 7f ff ff ff ff 07", Fault::Truncated),
        ("00 01 61 81 ff", Fault::Huffman),
        ("00 01 61 84 ff ff ff ff", Fault::Huffman),
        ("82 20", Fault::TableSize),
        ("3f e2 1f", Fault::TableSize),
    ] {
        assert_eq!(decode(&mut Decoder::default(), &octets(block)), Err(fault), "{block}");
    }
}

#[test]
fn a_table_has_a_size_and_a_list_has_a_limit() {
    let mut decoder = Decoder::default();
    let large = [&octets("40 01 61 7f 81 1f")[..], &[b'x'; 4096]].concat();
    assert!(decode(&mut decoder, &octets("40 01 62 01 63")).is_ok());
    assert_eq!(decode(&mut decoder, &octets("be")).as_deref(), Ok("b: c\n"));
    // One that is larger than the table empties it (§4.4).
    assert!(decode(&mut decoder, &large).is_ok());
    assert_eq!(decode(&mut decoder, &octets("be")), Err(Fault::Index));

    // What one octet asks for again and again is counted each time.
    let mut fields = FieldList::new(1000);
    let mut decoder = Decoder::default();
    decoder
        .decode(&[&octets("40 01 61 7f 79")[..], &[b'x'; 248], &[0xbe; 1000]].concat(), &mut fields)
        .unwrap();
    assert!(fields.is_too_large());
    assert_eq!(fields.iter().count(), 3);
}

#[test]
fn what_is_encoded_is_decoded() {
    let (mut encoder, mut decoder) = (Encoder::default(), Decoder::default());
    let long = "v".repeat(300);
    for status in [100, 103, 200, 204, 206, 304, 400, 404, 418, 500, 599] {
        let mut block = Vec::new();
        encoder.begin(&mut block);
        encoder.status(status, &mut block);
        let fields = [("content-type", "text/html"), ("x-request-id", "1"), ("set-cookie", "a=b"), ("x", "")];
        for (name, value) in fields.into_iter().chain([("etag", long.as_str())]) {
            encoder.field(name.as_bytes(), value.as_bytes(), &mut block);
        }
        let want = format!(
            ":status: {status}\ncontent-type: text/html\nx-request-id: 1\nset-cookie: a=b\nx: \netag: {long}\n"
        );
        assert_eq!(decode(&mut decoder, &block), Ok(want));
    }
}
