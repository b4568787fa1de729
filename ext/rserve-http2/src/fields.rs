//! A list of fields, decoded.

/// Names and values in the order in which they came, in one buffer.
#[derive(Debug, Default)]
pub struct FieldList {
    octets: Vec<u8>,
    /// Where each name begins, how long it is, and how long the value after it.
    fields: Vec<(usize, usize, usize)>,
    /// As RFC 9113 §10.5.1 counts it.
    size: usize,
    limit: usize,
    /// One of them, here or not, says that the method is HEAD: not even a refusal has a body then.
    is_head: bool,
}

/// What a field costs beside its octets (RFC 7541 §4.1).
pub(crate) const OVERHEAD: usize = 32;

impl FieldList {
    /// An empty list, for fields of `limit` octets.
    pub fn new(limit: usize) -> Self {
        Self { limit, ..Self::default() }
    }

    /// Forgets the fields and keeps the memory, if it is little.
    pub(crate) fn clear(&mut self) {
        if self.octets.capacity() > 8 * 1024 {
            self.octets = Vec::new();
        }
        self.octets.clear();
        self.fields.clear();
        self.size = 0;
        self.is_head = false;
    }

    /// Adds a field, if there is room for it.
    pub(crate) fn push(&mut self, name: &[u8], value: &[u8]) {
        self.size = self.size.saturating_add(name.len() + value.len() + OVERHEAD);
        self.is_head |= name == b":method" && value == b"HEAD";
        if !self.is_too_large() {
            self.fields.push((self.octets.len(), name.len(), value.len()));
            self.octets.extend_from_slice(name);
            self.octets.extend_from_slice(value);
        }
    }

    /// Whether there were more than there is room for; the others are not here.
    pub fn is_too_large(&self) -> bool {
        self.size > self.limit
    }

    /// Whether a field, be it one for which there was no room, says that the method is HEAD.
    pub(crate) fn is_head(&self) -> bool {
        self.is_head
    }

    /// The fields.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.fields.iter().map(|&(start, name, value)| {
            let (name, rest) = self.octets[start..start + name + value].split_at(name);
            (name, rest)
        })
    }
}
