//! From a header block to fields (RFC 7541 §§3, 6).

use super::huffman;
use super::integer;
use super::table::{DynamicTable, STATIC};
use crate::fields::FieldList;

/// The size that a dynamic table has unless a setting says otherwise (RFC 9113 §6.5.2); none of ours does.
const TABLE: usize = 4096;

/// A header block that is none: the connection has lost its compression.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Fault {
    /// It ends in the middle of a field.
    #[error("a header block ends in the middle of a field")]
    Truncated,
    /// An integer that is larger or longer than any needs to be.
    #[error("an integer is too large")]
    Integer,
    /// No field has this index.
    #[error("no field has this index")]
    Index,
    /// No Huffman code.
    #[error("a string is not Huffman's code")]
    Huffman,
    /// A change of the table's size that is too large or in the wrong place.
    #[error("a table's size is too large or in the wrong place")]
    TableSize,
}

/// Decodes the header blocks of one connection, in the order in which they come.
#[derive(Debug)]
pub struct Decoder {
    table: DynamicTable,
    name: Vec<u8>,
    value: Vec<u8>,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { table: DynamicTable::new(TABLE), name: Vec::new(), value: Vec::new() }
    }
}

impl Decoder {
    /// Adds the fields of `block` to `fields`. One that has no room there is decoded all the same.
    ///
    /// # Errors
    ///
    /// See [`Fault`]; no other block can be decoded then.
    pub fn decode(&mut self, mut block: &[u8], fields: &mut FieldList) -> Result<(), Fault> {
        let mut may_resize = true;
        while let Some(&first) = block.first() {
            if first & 0xe0 == 0x20 {
                let size = integer::take(&mut block, 5)?;
                if !may_resize || size > TABLE {
                    return Err(Fault::TableSize);
                }
                self.table.resize(size);
                continue;
            }
            may_resize = false;
            if first & 0x80 != 0 {
                let index = integer::take(&mut block, 7)?;
                let (name, value) = lookup(&self.table, index)?;
                fields.push(name, value);
                continue;
            }
            let (prefix, indexed) = if first & 0x40 != 0 { (6, true) } else { (4, false) };
            let index = integer::take(&mut block, prefix)?;
            if index == 0 {
                string(&mut block, &mut self.name)?;
            } else {
                self.name.clear();
                self.name.extend_from_slice(lookup(&self.table, index)?.0);
            }
            string(&mut block, &mut self.value)?;
            fields.push(&self.name, &self.value);
            if indexed {
                self.table.insert(&self.name, &self.value);
            }
        }
        Ok(())
    }

    /// Gives large buffers back.
    pub(crate) fn rest(&mut self) {
        for buffer in [&mut self.name, &mut self.value] {
            if buffer.capacity() > 8 * 1024 {
                *buffer = Vec::new();
            }
        }
    }
}

fn lookup(table: &DynamicTable, index: usize) -> Result<(&[u8], &[u8]), Fault> {
    match index.checked_sub(1).ok_or(Fault::Index)? {
        index if index < STATIC.len() => Ok(STATIC[index]),
        index => table.get(index - STATIC.len()).ok_or(Fault::Index),
    }
}

fn string(block: &mut &[u8], into: &mut Vec<u8>) -> Result<(), Fault> {
    let coded = block.first().ok_or(Fault::Truncated)? & 0x80 != 0;
    let length = integer::take(block, 7)?;
    let (octets, rest) = block.split_at_checked(length).ok_or(Fault::Truncated)?;
    *block = rest;
    into.clear();
    if coded {
        return huffman::decode(octets, into);
    }
    into.extend_from_slice(octets);
    Ok(())
}
