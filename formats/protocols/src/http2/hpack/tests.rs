//! The examples of the standard, an encoder that keeps to it, and what is blanked.

use proptest::prelude::*;

use super::*;
use crate::http2::tests::made::{Encoder, Way};

/// What was read of a block, and the block as it may be kept.
fn read(decoder: &mut Decoder, block: &[u8], whole: bool) -> (Read, Vec<(Name, Field)>, Vec<u8>) {
    let (mut kept, mut fields) = (block.to_vec(), Vec::new());
    let read = decoder.read(&mut kept, whole, |name, field| fields.push((name, field.clone())));
    (read, fields, kept)
}

/// The same, and that it is read the same again from what is kept.
fn both(decoders: &mut [Decoder; 2], block: &[u8]) -> (Vec<(Name, Field)>, Vec<u8>) {
    let [first, second] = decoders;
    let (whole, fields, kept) = read(first, block, true);
    assert_eq!(whole, Read::Whole, "{block:x?}");
    assert_eq!(read(second, &kept, true), (whole, fields.clone(), kept.clone()));
    assert_eq!(kept.len(), block.len());
    (fields, kept)
}

fn text(text: &str) -> Field {
    Field::Text(text.into())
}

fn shown(field: &Field) -> String {
    match field {
        Field::Known(text) => text.to_string(),
        Field::Text(text) => text.to_string(),
        Field::Path(path) => {
            path.query.as_ref().map_or(path.target.to_string(), |query| format!("{}?{query}", path.target))
        }
        Field::Number(number) => number.to_string(),
        _ => String::new(),
    }
}

fn hex(digits: &str) -> Vec<u8> {
    let digits: String = digits.split_whitespace().collect();
    (0..digits.len() / 2).map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap()).collect()
}

#[test]
fn requests_of_the_standard() {
    // RFC 7541, appendices C.3 and C.4.
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
        let mut decoders = Default::default();
        let mut fields = |block: &str| -> Vec<String> {
            let (fields, _) = both(&mut decoders, &hex(block));
            fields.iter().map(|(name, field)| format!("{name:?} {}", shown(field))).collect()
        };
        let first = ["Method GET", "Scheme http", "Path /", "Authority www.example.com"];
        assert_eq!(fields(blocks[0]), first);
        assert_eq!(fields(blocks[1]), [&first[..], &["Harmless "]].concat());
        let third = ["Method GET", "Scheme https", "Path /index.html", "Authority www.example.com", "Other "];
        assert_eq!(fields(blocks[2]), third);
    }
}

#[test]
fn answers_of_the_standard_whose_table_is_full() {
    // RFC 7541, appendix C.6.
    let blocks = [
        "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d
         29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
        "4883 640e ffc1 c0bf",
        "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d
         d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106
         3d50 07",
    ];
    let mut decoders = Default::default();
    let names = |fields: &[(Name, Field)]| -> Vec<Name> { fields.iter().map(|(name, _)| *name).collect() };
    let (first, _) = both(&mut decoders, &hex(blocks[0]));
    assert_eq!(first[0], (Name::Status, Field::Number(302)));
    assert_eq!(names(&first), [Name::Status, Name::Harmless, Name::Harmless, Name::Other]);
    let (second, _) = both(&mut decoders, &hex(blocks[1]));
    assert_eq!(second[0], (Name::Status, Field::Number(307)));
    assert_eq!(names(&second), names(&first));
    let (third, kept) = both(&mut decoders, &hex(blocks[2]));
    assert_eq!(third[0], (Name::Status, Field::Number(200)));
    assert_eq!(third.len(), 6);
    assert!(kept.ends_with(&[b'*'; 40]), "a cookie is no more there");
}

#[test]
fn what_was_never_seen_is_not_known() {
    let (mut encoder, mut before) = (Encoder::default(), Decoder::default());
    let fields =
        [(":method", "PUT", Way::Indexed), (":path", "/a", Way::Added), ("user-agent", "x", Way::Indexed)];
    let block = encoder.block(&fields);
    assert_eq!(read(&mut before, &block, true).0, Read::Whole);
    // From here on.
    let mut decoders = Default::default();
    let (found, _) = both(&mut decoders, &encoder.block(&fields));
    let unknown = (Name::Unknown, Field::Nothing);
    assert_eq!(found[0], unknown);
    assert_eq!(shown(&found[1].1), "/a");
    assert_eq!(found[2], unknown);
    // Its name is one that is not known, and its own place is.
    let named = encoder.block(&[("user-agent", "y", Way::Added)]);
    let (found, kept) = both(&mut decoders, &named);
    assert_eq!(found, [(Name::UserAgent, text("y"))]);
    assert_eq!(kept, named);
    encoder.block(&[("new-name", "1", Way::Added)]);
    let (found, kept) = both(&mut decoders, &encoder.block(&[("new-name", "secret", Way::Added)]));
    assert_ne!(found[0].0, Name::Unknown, "the table is one entry short, and nobody knows");
    assert!(!kept.windows(3).any(|part| part == b"sec"));
}

#[test]
fn secret_values_are_gone_and_paths_keep_their_names() {
    let cases = [
        (":path", "/a/b?user=Tim&token=abc%20d&x", "/a/b?user=***&token=*******&*"),
        (":path", "http://u:p@host/p;id=7?q=%ff#top", "/p;id=*?q=***#***"),
        (":path", "/a/b?q=\u{7f}\u{80}|<\\~&n=1", "/a/b?q=*******&n=*"),
        (":path", "*", "*"),
        (":authority", "host:80", "host:80"),
        ("x-request-id", "r-1", "r-1"),
        ("user-agent", "a (b)", "a (b)"),
        (":method", "FROB", "FROB"),
    ];
    for way in [Way::Plain, Way::Coded, Way::Added, Way::Never] {
        for (name, value, expected) in cases {
            let block = Encoder::default().block(&[(name, value, way)]);
            let (fields, kept) = both(&mut Default::default(), &block);
            assert_eq!(shown(&fields[0].1), expected, "{way:?}");
            assert_eq!(kept == block, value == expected, "{name}");
        }
    }
}

#[test]
fn what_is_no_value_of_its_name_is_gone() {
    let cases = [
        (":path", "x"),
        (":path", "no path"),
        (":path", "/a b"),
        (":path", ""),
        (":authority", "user:password@host"),
        (":method", "a b"),
        (":status", "12"),
        (":status", "20x"),
        ("grpc-status", "abc"),
        ("accept", "a\r\nb"),
        ("cookie", "canary"),
        ("x-secret", "canary"),
        ("grpc-message", "canary"),
    ];
    for way in [Way::Plain, Way::Coded] {
        for (name, value) in cases {
            let mut block = Encoder::default().block(&[(name, value, way)]);
            let (fields, kept) = both(&mut Default::default(), &block);
            assert_eq!(fields[0].1, Field::Nothing, "{name}: {value}");
            let again = both(&mut Default::default(), &kept);
            assert_eq!(again, (fields, kept.clone()));
            let length = block.len();
            assert!(value.is_empty() || kept[length - 1] == b'*' || kept[length - 1] == b'-');
            block.truncate(0);
        }
    }
}

#[test]
fn names_that_are_none_are_gone() {
    for way in [Way::Plain, Way::Coded] {
        let block = Encoder::default().block(&[("a secret", "canary", way)]);
        let (fields, kept) = both(&mut Default::default(), &block);
        assert_eq!(fields, [(Name::Other, Field::Nothing)]);
        assert!(kept[2..].iter().filter(|&&byte| byte != b'*').count() <= 1, "{kept:x?}");
    }
}

#[test]
fn blocks_that_cannot_be_read_are_blank() {
    let bad = [
        &b"\x80"[..],
        b"\x82\x20",
        b"\x20\x20\x20\x82",
        b"\x82\x7f\xff\xff\xff\xff\x7f",
        b"\x82\x41\x7f\xff\xff\xff\x7f",
        b"\x82\x41\x05abc",
        b"\x82\x40",
        b"**",
        b"*",
    ];
    for block in bad {
        let mut decoder = Decoder::default();
        let added = Encoder::default().block(&[("user-agent", "x", Way::Added)]);
        read(&mut decoder, &added, true);
        let (whole, _, kept) = read(&mut decoder, block, true);
        assert_eq!((whole, kept.iter().all(|&byte| byte == b'*')), (Read::Bad, true), "{block:x?}");
        let (_, fields, _) = read(&mut decoder, b"\xbe", true);
        assert_eq!(fields[0].0, Name::Unknown, "the table is not known behind it");
    }
}

#[test]
fn a_block_that_is_cut_tells_the_fields_before() {
    let fields = [
        (":method", "GET", Way::Indexed),
        ("user-agent", "somebody", Way::Added),
        ("authorization", "canary", Way::Plain),
        (":path", "/where?who=canary", Way::Coded),
    ];
    let block = Encoder::default().block(&fields);
    for length in 0..block.len() {
        let (cut, fields, kept) = read(&mut Decoder::default(), &block[..length], false);
        let Read::Cut(at) = cut else { panic!("{length}: {cut:?}") };
        assert!(kept[at..].iter().all(|&byte| byte == b'*'));
        let (again, same, still) = read(&mut Decoder::default(), &kept, false);
        assert_eq!((same, still), (fields, kept));
        assert!(matches!(again, Read::Cut(_) | Read::Bad));
    }
}

#[test]
fn the_table_is_bounded() {
    let mut decoder = Decoder::default();
    for number in 0..100_000 {
        let value = number.to_string();
        let block = Encoder::default().block(&[("user-agent", &value, Way::Added)]);
        read(&mut decoder, &block, true);
    }
    let held = (62..).take_while(|&index| decoder.table.get(index).0 != Name::Unknown).count();
    assert!((100..=128).contains(&held), "{held}");
    let known = |index: usize| shown(decoder.table.get(index).1);
    assert_eq!((known(62), known(71)), ("99999".to_string(), "99990".to_string()));
}

const NAMES: [&str; 6] = ["user-agent", "x-request-id", ":authority", "host", ":method", "b3"];
const WAYS: [Way; 5] = [Way::Indexed, Way::Plain, Way::Coded, Way::Added, Way::Never];

proptest! {
    #[test]
    fn an_encoder_of_the_standard_is_understood(
        blocks in proptest::collection::vec(
            (
                proptest::option::weighted(0.1, 0usize..6000),
                proptest::collection::vec((0..NAMES.len(), "[a-z0-9]{0,12}|[a-c]", 0..WAYS.len()), 0..12),
            ),
            1..30,
        )
    ) {
        let (mut encoder, mut decoders) = (Encoder::default(), <[Decoder; 2]>::default());
        for (resize, fields) in &blocks {
            if let Some(size) = resize {
                encoder.resize(*size);
            }
            let wanted: Vec<_> =
                fields.iter().map(|(name, value, way)| (NAMES[*name], value.as_str(), WAYS[*way])).collect();
            let block = encoder.block(&wanted);
            prop_assume!(block.is_empty() || block.iter().any(|&byte| byte != b'*'));
            let (found, _) = both(&mut decoders, &block);
            let texts: Vec<String> = found.iter().map(|(_, field)| shown(field)).collect();
            let expected: Vec<&str> = wanted.iter().map(|(_, value, _)| *value).collect();
            prop_assert_eq!(texts, expected);
        }
    }

    #[test]
    fn any_bytes_are_read_the_same_again(blocks: Vec<(Vec<u8>, bool)>) {
        let mut decoders = <[Decoder; 2]>::default();
        for (block, whole) in blocks {
            let (first, fields, kept) = read(&mut decoders[0], &block, whole);
            let (second, same, still) = read(&mut decoders[1], &kept, whole);
            let fields = if first == Read::Bad { Vec::new() } else { fields };
            let same = if second == Read::Bad { Vec::new() } else { same };
            prop_assert_eq!((fields, kept), (same, still));
            prop_assert!(!whole || first == second);
        }
    }
}
