use super::*;

fn text(fields: &Fields) -> String {
    let line = |(name, value): &Field| {
        format!("{}: {}", String::from_utf8_lossy(name), String::from_utf8_lossy(value))
    };
    fields.list.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).expect("text"), 16).expect("hex");
    digits.chunks(2).map(byte).collect()
}

/// RFC 7541, C.3 and C.4: the same three requests, without and with Huffman codes.
#[test]
fn the_requests_of_the_rfc_are_read_with_their_table() {
    let plain = [
        "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "8286 84be 5808 6e6f 2d63 6163 6865",
        "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
    ];
    let coded = [
        "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
        "8286 84be 5886 a8eb 1064 9cbf",
        "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
    ];
    for blocks in [plain, coded] {
        let mut decoder = Decoder::default();
        let mut read = |block: &str| text(&decoder.read(&bytes(block), 1000).expect("valid"));
        let first = ":method: GET\n:scheme: http\n:path: /\n:authority: www.example.com";
        assert_eq!(read(blocks[0]), first);
        assert_eq!(read(blocks[1]), format!("{first}\ncache-control: no-cache"));
        assert_eq!(
            read(blocks[2]),
            ":method: GET\n:scheme: https\n:path: /index.html\n:authority: www.example.com\n\
             custom-key: custom-value"
        );
        assert_eq!((decoder.size, decoder.changes()), (164, 3));
    }
}

#[test]
fn entries_leave_a_full_table_and_one_that_is_too_large_empties_it() {
    let mut decoder = Decoder::default();
    let field = |name: u8, length: usize| {
        let mut block = vec![0x40, 1, name];
        write_string(&vec![b'v'; length], &mut block);
        block
    };
    for name in b'a'..=b'z' {
        decoder.read(&field(name, 1000), 1 << 20).expect("valid");
        assert!(decoder.size <= TABLE);
    }
    assert_eq!(text(&decoder.read(&[0xbe], 2000).expect("valid")).as_bytes()[0], b'z');
    assert!(decoder.read(&[0xbe + 3], 2000).is_err(), "evicted");
    decoder.read(&[0x20, 0x3f, 0xe1, 0x1f], 0).expect("sizes of 0 and 4096");
    assert_eq!(decoder.size, 0);
    decoder.read(&field(b'a', 10), 1 << 20).expect("valid");
    decoder.read(&field(b'b', 5000), 1 << 20).expect("valid");
    assert_eq!((decoder.size, decoder.table.len()), (0, 0));
}

#[test]
fn fields_beyond_the_limit_are_left_out_and_still_enter_the_table() {
    let mut decoder = Decoder::default();
    let block = [&[0x40, 1, b'a', 1, b'1'][..], &[0x40, 1, b'b', 1, b'2']].concat();
    let fields = decoder.read(&block, 40).expect("valid");
    assert_eq!((text(&fields).as_str(), fields.too_large), ("a: 1", true));
    assert_eq!(text(&decoder.read(&[0xbe, 0xbf], 100).expect("valid")), "b: 2\na: 1");
}

#[test]
fn what_no_peer_may_send_is_corrupt() {
    let wrong: [&[u8]; 9] = [
        &[0x80],
        &[0xff, 0x80],
        &[0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
        &[0xbe],
        &[0x40, 1],
        &[0x40, 1, b'a', 5, b'1'],
        &[0x82, 0x20],
        &[0x3f, 0xe2, 0x1f],
        &[0x40, 0x81, 0xff, 0],
    ];
    for block in wrong {
        assert!(matches!(Decoder::default().read(block, 1000), Err(Corrupt)), "{block:x?}");
    }
}

#[test]
fn what_is_written_is_read_again() {
    let mut headers = HeaderMap::new();
    for length in [0, 1, 126, 127, 128, 254, 255, 5000] {
        let name = http::HeaderName::try_from(format!("x-{length}")).expect("a name");
        headers.insert(name, "v".repeat(length).parse().expect("a value"));
    }
    let mut block = vec![NO_TABLE];
    write(Some(StatusCode::UNSUPPORTED_MEDIA_TYPE), &headers, &mut block);
    let fields = Decoder::default().read(&block, 1 << 20).expect("valid");
    assert_eq!(fields.list[0], (Bytes::from(":status"), Bytes::from("415")));
    assert_eq!(fields.list.len(), 1 + headers.len());
    for (name, value) in &fields.list[1..] {
        let name = std::str::from_utf8(name).expect("text");
        assert_eq!(headers.get(name).expect("was written").as_bytes(), value);
    }
}

#[test]
fn blocks_of_the_corpus_keep_the_table_in_its_bounds() {
    crate::corpus::corpus("hpack").iter().for_each(|bytes| check::blocks(bytes));
}

#[test]
fn a_long_text_keeps_no_room_for_what_its_codes_might_have_stood_for() {
    // X has a code of eight bits, the shortest have five.
    let coded = [&[0, 1, b'x', 0xff, 0xe1, 6][..], &[0xfc; 992]].concat();
    let (_, value) = Decoder::default().read(&coded, 2000).expect("valid").list.remove(0);
    assert_eq!(value, vec![b'X'; 992]);
    let room = value.try_into_mut().expect("alone").capacity() - 992;
    assert!(room <= 992 / 8, "{room}");
}
