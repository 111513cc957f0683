//! The structure of HPACK header blocks (RFC 7541), without their values: which fields are pseudo headers, however
//! they are written.
//!
//! h2 drops pseudo headers that stand in trailers, and schemes of requests without `:authority`, before anyone can
//! judge them. This follows the fields of every block and remembers of each entry of the dynamic table what kind of
//! name it has: that takes an integer for each field and no decoding of strings.

/// The table that we offer (RFC 9113 section 6.5.2, the default), in bytes.
const TABLE_BYTES_MAX: u64 = 4096;

/// What an entry of the table takes beside its name and value.
const ENTRY_BYTES: u64 = 32;

/// Entries that the table can have.
const ENTRIES_MAX: usize = 128;

/// The longest name of the static table (RFC 7541 appendix A).
const STATIC_NAME_BYTES_MAX: u64 = 27;

/// `:scheme`, and how Huffman's code writes it (RFC 7541 appendix B).
const SCHEME: &[u8] = b":scheme";
const SCHEME_HUFFMAN: &[u8] = &[0xb8, 0x82, 0x4e, 0x5a, 0x4b];

/// Follows the header blocks of one direction of a connection.
#[derive(Debug, Default)]
pub struct Blocks {
    state: State,
    field: Field,
    table: Table,
}

/// A field whose end was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// What kind of name it has.
    pub name: Name,
    /// It was written out with an empty value.
    pub empty: bool,
}

/// Kinds of names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Name {
    /// A header.
    #[default]
    Header,
    /// A pseudo header.
    Pseudo,
    /// `:scheme`.
    Scheme,
    /// It cannot be told.
    Unknown,
}

/// Not HPACK; h2 ends the connection for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

#[derive(Debug, Clone, Copy, Default)]
enum State {
    #[default]
    FieldStart,
    Index(Integer),
    NameStart,
    NameLength(Integer),
    Name(u64),
    ValueStart,
    ValueLength(Integer),
    Value(u64),
}

/// An integer of which more bytes follow.
#[derive(Debug, Clone, Copy, Default)]
struct Integer {
    value: u64,
    shift: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Form {
    #[default]
    Indexed,
    Inserted,
    Literal,
    SizeUpdate,
}

#[derive(Debug, Clone, Copy, Default)]
struct Field {
    form: Form,
    name: Name,
    huffman: bool,
    start: [u8; 8],
    length: usize,
    empty: bool,
    /// The most that its name may have when decoded.
    name_bytes: u64,
    /// The least and the most that its name and value may have when decoded.
    bytes: (u64, u64),
}

/// The kinds of the names in the dynamic table, the newest in the lowest bit. An index beyond the oldest entry is an
/// error to h2, so evictions need not be followed. 4 KiB hold at most 128 entries.
#[derive(Debug)]
struct Table {
    pseudo: u128,
    scheme: u128,
    /// How long the names may be, in a ring.
    names: [u16; ENTRIES_MAX],
    newest: usize,
    /// The client made it smaller.
    bytes_max: Option<u64>,
    /// An entry may or may not have fitted.
    uncertain: bool,
}

impl Blocks {
    /// Takes some bytes of a block; returns how many, with the field that they end.
    pub fn step(&mut self, bytes: &[u8]) -> Result<(usize, Option<Seen>), Malformed> {
        let byte = bytes[0];
        let mut used = 1;
        match self.state {
            State::FieldStart => return Ok((1, self.field_start(byte)?)),
            State::Index(integer) => match integer.more(byte)? {
                Ok(index) => return Ok((1, self.index(index)?)),
                Err(more) => self.state = State::Index(more),
            },
            State::NameStart | State::ValueStart => {
                self.field.huffman = byte & 0x80 != 0;
                let length = u64::from(byte & 0x7f);
                let is_name = matches!(self.state, State::NameStart);
                if length < 0x7f {
                    return Ok((1, self.length(is_name, length)?));
                }
                let integer = Integer {
                    value: length,
                    shift: 0,
                };
                self.state = if is_name {
                    State::NameLength(integer)
                } else {
                    State::ValueLength(integer)
                };
            }
            State::NameLength(integer) | State::ValueLength(integer) => {
                let is_name = matches!(self.state, State::NameLength(_));
                match integer.more(byte)? {
                    Ok(length) => return Ok((1, self.length(is_name, length)?)),
                    Err(more) if is_name => self.state = State::NameLength(more),
                    Err(more) => self.state = State::ValueLength(more),
                }
            }
            State::Name(left) => {
                used = cut(left, bytes.len());
                self.field.push_name(&bytes[..used]);
                self.state = match left - used as u64 {
                    0 => {
                        self.field.name = self.field.written_name();
                        State::ValueStart
                    }
                    left => State::Name(left),
                };
            }
            State::Value(left) => {
                used = cut(left, bytes.len());
                match left - used as u64 {
                    0 => return Ok((used, Some(self.end_field()))),
                    left => self.state = State::Value(left),
                }
            }
        }
        Ok((used, None))
    }

    fn field_start(&mut self, byte: u8) -> Result<Option<Seen>, Malformed> {
        let (form, mask) = match byte {
            0x80.. => (Form::Indexed, 0x7f),
            0x40.. => (Form::Inserted, 0x3f),
            0x20.. => (Form::SizeUpdate, 0x1f),
            _ => (Form::Literal, 0x0f),
        };
        self.field = Field {
            form,
            ..Field::default()
        };
        let value = u64::from(byte & mask);
        if value < u64::from(mask) {
            return self.index(value);
        }
        self.state = State::Index(Integer { value, shift: 0 });
        Ok(None)
    }

    fn index(&mut self, index: u64) -> Result<Option<Seen>, Malformed> {
        match self.field.form {
            Form::SizeUpdate => {
                self.table.resize(index);
                self.state = State::FieldStart;
                return Ok(None);
            }
            Form::Indexed => {
                self.field.name = self.table.name(index).ok_or(Malformed)?;
                self.state = State::FieldStart;
                return Ok(Some(self.field.seen()));
            }
            Form::Inserted | Form::Literal if index == 0 => self.state = State::NameStart,
            Form::Inserted | Form::Literal => {
                self.field.name = self.table.name(index).ok_or(Malformed)?;
                self.field.name_bytes = self.table.name_bytes(index);
                self.field.bytes = (1, self.field.name_bytes);
                self.state = State::ValueStart;
            }
        }
        Ok(None)
    }

    fn length(&mut self, is_name: bool, length: u64) -> Result<Option<Seen>, Malformed> {
        self.field.add_bytes(length);
        if is_name {
            self.field.name_bytes = self.field.bytes.1;
            self.state = match length {
                0 => return Err(Malformed),
                length => State::Name(length),
            };
            return Ok(None);
        }
        self.field.empty = length == 0;
        if length == 0 {
            return Ok(Some(self.end_field()));
        }
        self.state = State::Value(length);
        Ok(None)
    }

    fn end_field(&mut self) -> Seen {
        if self.field.form == Form::Inserted {
            self.table.insert(&self.field);
        }
        self.state = State::FieldStart;
        self.field.seen()
    }
}

impl Field {
    fn seen(&self) -> Seen {
        Seen {
            name: self.name,
            empty: self.empty,
        }
    }

    fn push_name(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if let Some(place) = self.start.get_mut(self.length) {
                *place = *byte;
            }
            self.length += 1;
        }
    }

    /// The name that was written out. A colon in Huffman's code is the seven bits 1011100.
    fn written_name(&self) -> Name {
        let text = self.start.get(..self.length).unwrap_or_default();
        let (scheme, pseudo) = if self.huffman {
            (SCHEME_HUFFMAN, self.start[0] & 0xfe == 0xb8)
        } else {
            (SCHEME, self.start[0] == b':')
        };
        if text == scheme {
            Name::Scheme
        } else if pseudo {
            Name::Pseudo
        } else {
            Name::Header
        }
    }

    /// Huffman's code takes 5 to 30 bits for a byte.
    fn add_bytes(&mut self, length: u64) {
        let (least, most) = if self.huffman {
            (length * 8 / 30, length * 8 / 5)
        } else {
            (length, length)
        };
        self.bytes = (self.bytes.0 + least, self.bytes.1 + most);
    }
}

impl Table {
    fn name(&self, index: u64) -> Option<Name> {
        let entry = match index {
            0 => return None,
            6 | 7 => return Some(Name::Scheme),
            1..=14 => return Some(Name::Pseudo),
            15..=61 => return Some(Name::Header),
            _ => u32::try_from(index - 62)
                .ok()
                .filter(|entry| (*entry as usize) < ENTRIES_MAX)?,
        };
        Some(if self.uncertain {
            Name::Unknown
        } else if self.scheme >> entry & 1 == 1 {
            Name::Scheme
        } else if self.pseudo >> entry & 1 == 1 {
            Name::Pseudo
        } else {
            Name::Header
        })
    }

    /// How long the name of an entry may be.
    fn name_bytes(&self, index: u64) -> u64 {
        let Some(entry) = index.checked_sub(62) else {
            return STATIC_NAME_BYTES_MAX;
        };
        let back = usize::try_from(entry).unwrap_or_default() % ENTRIES_MAX;
        u64::from(self.names[(self.newest + ENTRIES_MAX - back) % ENTRIES_MAX])
    }

    fn insert(&mut self, field: &Field) {
        let max = self.bytes_max.unwrap_or(TABLE_BYTES_MAX);
        let (least, most) = field.bytes;
        if least + ENTRY_BYTES > max {
            // An entry that does not fit empties the table (RFC 7541 section 4.4).
            (self.pseudo, self.scheme) = (0, 0);
            return;
        }
        self.uncertain |= most + ENTRY_BYTES > max;
        self.pseudo = self.pseudo << 1 | u128::from(field.name == Name::Pseudo);
        self.scheme = self.scheme << 1 | u128::from(field.name == Name::Scheme);
        self.newest = (self.newest + 1) % ENTRIES_MAX;
        self.names[self.newest] = u16::try_from(field.name_bytes).unwrap_or(u16::MAX);
    }

    fn resize(&mut self, bytes_max: u64) {
        self.bytes_max = Some(bytes_max);
        if bytes_max == 0 {
            // Nothing is left about which to be uncertain.
            (self.pseudo, self.scheme, self.uncertain) = (0, 0, false);
        }
    }
}

impl Default for Table {
    fn default() -> Self {
        Self {
            pseudo: 0,
            scheme: 0,
            names: [0; ENTRIES_MAX],
            newest: 0,
            bytes_max: None,
            uncertain: false,
        }
    }
}

impl Integer {
    /// The integer, or what is known of it. Of at most five bytes, as in h2.
    fn more(self, byte: u8) -> Result<Result<u64, Self>, Malformed> {
        let value = self.value + (u64::from(byte & 0x7f) << self.shift);
        if byte & 0x80 == 0 {
            return Ok(Ok(value));
        }
        let shift = self.shift + 7;
        if shift >= 28 {
            return Err(Malformed);
        }
        Ok(Err(Self { value, shift }))
    }
}

fn cut(left: u64, available: usize) -> usize {
    usize::try_from(left).map_or(available, |left| left.min(available))
}
