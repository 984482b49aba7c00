//! What must hold for any blocks of fields of one connection; for tests and for fuzzing.

use super::{Corrupt, Decoder, Field, TABLE, size_of_field, write_string};

/// Room of the decoder that has little.
const LIMIT: usize = 150;

/// Reads blocks of fields, each behind its length, with two decoders of which one has no room: both keep the same table within
/// its bounds and fail alike, the small one gives the fields that fit and says whether there were more, a block that changed
/// nothing reads the same again, and fields that are written as literals come back.
#[cfg_attr(not(feature = "fuzzing"), expect(unreachable_pub, reason = "public for fuzzing only"))]
pub fn blocks(mut bytes: &[u8]) {
    let (mut wide, mut narrow) = (Decoder::default(), Decoder::default());
    while let Some((&length, rest)) = bytes.split_first() {
        let (block, rest) = rest.split_at(rest.len().min(usize::from(length)));
        bytes = rest;
        let before = wide.changes();
        let (all, some) = (wide.read(block, usize::MAX), narrow.read(block, LIMIT));
        assert!(
            wide.table == narrow.table && wide.changes() == narrow.changes(),
            "the limit changed the table"
        );
        table(&wide);
        let (Ok(all), Ok(some)) = (all, some) else { return };
        assert!(!all.too_large);
        assert_eq!(some.too_large, sum(&all.list) > LIMIT);
        assert!(some.list == all.list[..some.list.len()] && sum(&some.list) <= LIMIT);
        if wide.changes() == before {
            assert_eq!(wide.read(block, usize::MAX).map(|fields| fields.list), Ok(all.list.clone()));
        }
        assert_eq!(literal(&all.list), Ok(all.list));
    }
}

fn sum(fields: &[Field]) -> usize {
    fields.iter().map(size_of_field).sum()
}

fn table(decoder: &Decoder) {
    assert_eq!(decoder.table.iter().map(size_of_field).sum::<usize>(), decoder.size);
    assert!(decoder.size <= decoder.max.unwrap_or(TABLE) && decoder.max.is_none_or(|max| max <= TABLE));
}

/// The fields, written and read again.
fn literal(fields: &[Field]) -> Result<Vec<Field>, Corrupt> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        write_string(name, &mut block);
        write_string(value, &mut block);
    }
    Decoder::default().read(&block, usize::MAX).map(|fields| fields.list)
}
