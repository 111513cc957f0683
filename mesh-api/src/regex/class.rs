//! Character classes: ranges, Perl's, POSIX's and Unicode's groups, folded and negated as RE2 does it.
//!
//! Groups of Unicode are large, and an expression of 1,024 bytes can name hundreds; each is made once in the
//! life of the process. Case is folded by a table of the characters that have a case, not by walking a class's
//! characters one by one, which for `(?i)[^a]` are a million.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use regex_syntax::hir::{Class as HirClass, ClassUnicode, ClassUnicodeRange, HirKind};
use regex_syntax::utf8::{Utf8Range, Utf8Sequences};

/// A set of characters.
#[derive(Debug)]
pub(super) struct Class {
    pub(super) set: ClassUnicode,
    /// States of the automaton that reads one character of it.
    pub(super) states: u64,
}

impl Class {
    fn new(set: ClassUnicode) -> Arc<Self> {
        let states = states(&set);
        Arc::new(Self { set, states })
    }
}

/// States that read one character: compilers of automata share what sequences of bytes begin with, and what they
/// end in.
fn states(set: &ClassUnicode) -> u64 {
    let Some(last) = set.ranges().last() else {
        return 1;
    };
    if last.end().is_ascii() {
        return 1;
    }
    let mut beginnings = Vec::new();
    let mut ends = Vec::new();
    for range in set.ranges() {
        for sequence in Utf8Sequences::new(range.start(), range.end()) {
            let bytes = sequence.as_slice();
            for at in 1..bytes.len() {
                beginnings.push(number(&bytes[..at]));
                ends.push(number(&bytes[at..]));
            }
        }
    }
    distinct(beginnings).min(distinct(ends)) + 1
}

/// At most three ranges of bytes, none of which ends in zero, as one number.
fn number(ranges: &[Utf8Range]) -> u64 {
    ranges.iter().fold(0, |number, range| {
        number << 16 | u64::from(range.start) << 8 | u64::from(range.end)
    })
}

fn distinct(mut numbers: Vec<u64>) -> u64 {
    numbers.sort_unstable();
    numbers.dedup();
    numbers.len() as u64
}

/// What `\d`, `[[:alpha:]]`, `\p{Greek}` and `.` stand for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Group {
    set: Set,
    negated: bool,
    fold: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Set {
    /// Ranges of ASCII.
    Ascii(&'static [(char, char)]),
    /// A general category.
    Category(&'static str),
    /// A script.
    Script(&'static str),
    /// Every character.
    Any,
}

impl Group {
    /// `.`, with or without line feeds.
    pub(super) fn dot(line_feed: bool) -> Self {
        match line_feed {
            true => Self::of(Set::Any, false, false),
            false => Self::of(Set::Ascii(&[('\n', '\n')]), true, false),
        }
    }

    /// `\d`, `\s`, `\w` and their opposites.
    pub(super) fn perl(letter: char, fold: bool) -> Option<Self> {
        let ranges: &'static [(char, char)] = match letter.to_ascii_lowercase() {
            'd' => &[('0', '9')],
            // Without \v, unlike POSIX's space.
            's' => &[('\t', '\n'), ('\x0c', '\r'), (' ', ' ')],
            'w' => &[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')],
            _ => return None,
        };
        let negated = letter.is_ascii_uppercase();
        Some(Self::of(Set::Ascii(ranges), negated, fold))
    }

    /// The inside of `[: :]`.
    pub(super) fn posix(name: &str, fold: bool) -> Option<Self> {
        let (negated, name) = match name.strip_prefix('^') {
            Some(name) => (true, name),
            None => (false, name),
        };
        let ranges: &'static [(char, char)] = match name {
            "alnum" => &[('0', '9'), ('A', 'Z'), ('a', 'z')],
            "alpha" => &[('A', 'Z'), ('a', 'z')],
            "ascii" => &[('\0', '\x7f')],
            "blank" => &[('\t', '\t'), (' ', ' ')],
            "cntrl" => &[('\0', '\x1f'), ('\x7f', '\x7f')],
            "digit" => &[('0', '9')],
            "graph" => &[('!', '~')],
            "lower" => &[('a', 'z')],
            "print" => &[(' ', '~')],
            "punct" => &[('!', '/'), (':', '@'), ('[', '`'), ('{', '~')],
            "space" => &[('\t', '\r'), (' ', ' ')],
            "upper" => &[('A', 'Z')],
            "word" => &[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')],
            "xdigit" => &[('0', '9'), ('A', 'F'), ('a', 'f')],
            _ => return None,
        };
        Some(Self::of(Set::Ascii(ranges), negated, fold))
    }

    /// `\pN` or `\p{Name}`; `name` may begin with `^`.
    pub(super) fn unicode(name: &str, negated: bool, fold: bool) -> Option<Self> {
        let (negated, name) = match name.strip_prefix('^') {
            Some(name) => (!negated, name),
            None => (negated, name),
        };
        let known = |names: &'static [&'static str]| names.iter().find(|known| **known == name);
        let set = match name {
            "Any" => Set::Any,
            _ => match known(CATEGORIES) {
                Some(name) => Set::Category(name),
                None => Set::Script(known(SCRIPTS)?),
            },
        };
        let group = Self::of(set, negated, fold);
        // The tables in use may not know a script yet.
        matches!(set, Set::Any | Set::Ascii(_))
            .then(|| group.clone())
            .or_else(|| property(set).map(|_| group))
    }

    fn of(set: Set, negated: bool, fold: bool) -> Self {
        Self { set, negated, fold }
    }

    /// The class, made once.
    pub(super) fn class(&self) -> Arc<Class> {
        static MADE: OnceLock<Mutex<HashMap<Group, Arc<Class>>>> = OnceLock::new();
        let made = MADE.get_or_init(Mutex::default);
        let mut made = made.lock().unwrap_or_else(PoisonError::into_inner);
        made.entry(self.clone())
            .or_insert_with(|| Class::new(self.set()))
            .clone()
    }

    fn set(&self) -> ClassUnicode {
        let mut set = match self.set {
            Set::Ascii(ranges) => ClassUnicode::new(
                ranges
                    .iter()
                    .map(|(start, end)| ClassUnicodeRange::new(*start, *end)),
            ),
            Set::Any => ClassUnicode::new([ClassUnicodeRange::new('\0', char::MAX)]),
            named => property(named).unwrap_or_else(ClassUnicode::empty),
        };
        if self.fold {
            set = fold(set);
        }
        if self.negated {
            set.negate();
        }
        set
    }
}

/// The inside of a bracket expression.
#[derive(Debug, Default)]
pub(super) struct Bracket {
    ranges: Vec<ClassUnicodeRange>,
    groups: BTreeSet<Group>,
}

impl Bracket {
    /// Characters by number. Surrogates are in no text, so a range of them alone is empty.
    pub(super) fn range(&mut self, start: u32, end: u32) {
        let surrogates = 0xd800..=0xdfff;
        let start = if surrogates.contains(&start) {
            0xe000
        } else {
            start
        };
        let end = if surrogates.contains(&end) {
            0xd7ff
        } else {
            end
        };
        if let (Some(start), Some(end)) = (char::from_u32(start), char::from_u32(end))
            && start <= end
        {
            self.ranges.push(ClassUnicodeRange::new(start, end));
        }
    }

    pub(super) fn group(&mut self, group: Group) {
        self.groups.insert(group);
    }

    /// The class, and how many ranges it was made from.
    pub(super) fn class(self, negated: bool, fold_case: bool) -> (Arc<Class>, u64) {
        let mut own = ClassUnicode::new(self.ranges);
        if fold_case {
            own = fold(own);
        }
        let mut ranges = own.ranges().to_vec();
        for group in &self.groups {
            ranges.extend_from_slice(group.class().set.ranges());
        }
        let work = ranges.len() as u64;
        let mut set = ClassUnicode::new(ranges);
        if negated {
            set.negate();
        }
        (Class::new(set), work)
    }
}

/// The class of a character with its other cases; nothing if it has none.
pub(super) fn cases(character: char) -> Option<Arc<Class>> {
    folds().get(&character)?;
    let one = ClassUnicode::new([ClassUnicodeRange::new(character, character)]);
    Some(Class::new(fold(one)))
}

/// The set with every other case of its characters.
fn fold(set: ClassUnicode) -> ClassUnicode {
    let mut ranges = set.ranges().to_vec();
    for range in set.ranges() {
        for others in folds()
            .range(range.start()..=range.end())
            .map(|(_, others)| others)
        {
            ranges.extend(others.iter().map(|c| ClassUnicodeRange::new(*c, *c)));
        }
    }
    ClassUnicode::new(ranges)
}

/// Characters with a case, and their other cases by Unicode's simple folding.
fn folds() -> &'static BTreeMap<char, Vec<char>> {
    static FOLDS: OnceLock<BTreeMap<char, Vec<char>>> = OnceLock::new();
    FOLDS.get_or_init(|| {
        let has_case =
            |c: &char| c.to_lowercase().next() != Some(*c) || c.to_uppercase().next() != Some(*c);
        // No script beyond the first two planes has a case.
        let cased = ('\0'..'\u{20000}').filter(has_case);
        cased
            .filter_map(|c| {
                let mut orbit = ClassUnicode::new([ClassUnicodeRange::new(c, c)]);
                orbit.case_fold_simple();
                let others = orbit.ranges().iter();
                let others: Vec<char> = others
                    .flat_map(|range| range.start()..=range.end())
                    .filter(|other| *other != c)
                    .collect();
                (!others.is_empty()).then_some((c, others))
            })
            .collect()
    })
}

/// The characters of a category or a script.
fn property(set: Set) -> Option<ClassUnicode> {
    let one = |expression: String| {
        let hir = regex_syntax::parse(&expression).ok()?;
        match hir.kind() {
            HirKind::Class(HirClass::Unicode(set)) => Some(set.clone()),
            // A class of one character.
            HirKind::Literal(literal) => {
                let character = std::str::from_utf8(&literal.0).ok()?.chars().next()?;
                Some(ClassUnicode::new([ClassUnicodeRange::new(
                    character, character,
                )]))
            }
            _ => None,
        }
    };
    match set {
        // RE2's "other" has neither unassigned characters nor, in text, surrogates.
        Set::Category("C") => one(r"[\p{gc=Cc}\p{gc=Cf}\p{gc=Co}]".to_owned()),
        Set::Category("Cs") => Some(ClassUnicode::empty()),
        Set::Category(name) => one(format!(r"\p{{gc={name}}}")),
        Set::Script(name) => one(format!(r"\p{{sc={name}}}")),
        Set::Ascii(_) | Set::Any => None,
    }
}

/// General categories that RE2 knows.
const CATEGORIES: &[&str] = &[
    "C", "Cc", "Cf", "Co", "Cs", "L", "Ll", "Lm", "Lo", "Lt", "Lu", "M", "Mc", "Me", "Mn", "N",
    "Nd", "Nl", "No", "P", "Pc", "Pd", "Pe", "Pf", "Pi", "Po", "Ps", "S", "Sc", "Sk", "Sm", "So",
    "Z", "Zl", "Zp", "Zs",
];

/// Scripts that RE2 knows.
const SCRIPTS: &[&str] = &[
    "Adlam",
    "Ahom",
    "Anatolian_Hieroglyphs",
    "Arabic",
    "Armenian",
    "Avestan",
    "Balinese",
    "Bamum",
    "Bassa_Vah",
    "Batak",
    "Bengali",
    "Bhaiksuki",
    "Bopomofo",
    "Brahmi",
    "Braille",
    "Buginese",
    "Buhid",
    "Canadian_Aboriginal",
    "Carian",
    "Caucasian_Albanian",
    "Chakma",
    "Cham",
    "Cherokee",
    "Chorasmian",
    "Common",
    "Coptic",
    "Cuneiform",
    "Cypriot",
    "Cypro_Minoan",
    "Cyrillic",
    "Deseret",
    "Devanagari",
    "Dives_Akuru",
    "Dogra",
    "Duployan",
    "Egyptian_Hieroglyphs",
    "Elbasan",
    "Elymaic",
    "Ethiopic",
    "Georgian",
    "Glagolitic",
    "Gothic",
    "Grantha",
    "Greek",
    "Gujarati",
    "Gunjala_Gondi",
    "Gurmukhi",
    "Han",
    "Hangul",
    "Hanifi_Rohingya",
    "Hanunoo",
    "Hatran",
    "Hebrew",
    "Hiragana",
    "Imperial_Aramaic",
    "Inherited",
    "Inscriptional_Pahlavi",
    "Inscriptional_Parthian",
    "Javanese",
    "Kaithi",
    "Kannada",
    "Katakana",
    "Kawi",
    "Kayah_Li",
    "Kharoshthi",
    "Khitan_Small_Script",
    "Khmer",
    "Khojki",
    "Khudawadi",
    "Lao",
    "Latin",
    "Lepcha",
    "Limbu",
    "Linear_A",
    "Linear_B",
    "Lisu",
    "Lycian",
    "Lydian",
    "Mahajani",
    "Makasar",
    "Malayalam",
    "Mandaic",
    "Manichaean",
    "Marchen",
    "Masaram_Gondi",
    "Medefaidrin",
    "Meetei_Mayek",
    "Mende_Kikakui",
    "Meroitic_Cursive",
    "Meroitic_Hieroglyphs",
    "Miao",
    "Modi",
    "Mongolian",
    "Mro",
    "Multani",
    "Myanmar",
    "Nabataean",
    "Nag_Mundari",
    "Nandinagari",
    "New_Tai_Lue",
    "Newa",
    "Nko",
    "Nushu",
    "Nyiakeng_Puachue_Hmong",
    "Ogham",
    "Ol_Chiki",
    "Old_Hungarian",
    "Old_Italic",
    "Old_North_Arabian",
    "Old_Permic",
    "Old_Persian",
    "Old_Sogdian",
    "Old_South_Arabian",
    "Old_Turkic",
    "Old_Uyghur",
    "Oriya",
    "Osage",
    "Osmanya",
    "Pahawh_Hmong",
    "Palmyrene",
    "Pau_Cin_Hau",
    "Phags_Pa",
    "Phoenician",
    "Psalter_Pahlavi",
    "Rejang",
    "Runic",
    "Samaritan",
    "Saurashtra",
    "Sharada",
    "Shavian",
    "Siddham",
    "SignWriting",
    "Sinhala",
    "Sogdian",
    "Sora_Sompeng",
    "Soyombo",
    "Sundanese",
    "Syloti_Nagri",
    "Syriac",
    "Tagalog",
    "Tagbanwa",
    "Tai_Le",
    "Tai_Tham",
    "Tai_Viet",
    "Takri",
    "Tamil",
    "Tangsa",
    "Tangut",
    "Telugu",
    "Thaana",
    "Thai",
    "Tibetan",
    "Tifinagh",
    "Tirhuta",
    "Toto",
    "Ugaritic",
    "Vai",
    "Vithkuqi",
    "Wancho",
    "Warang_Citi",
    "Yezidi",
    "Yi",
    "Zanabazar_Square",
];
