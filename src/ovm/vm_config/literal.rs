//! The values that a vm.cfg can hold.

/// A Python literal.
#[derive(Debug, Clone, PartialEq)]
pub enum Literal {
    /// `None`
    None,
    /// `True` or `False`
    Bool(bool),
    /// An integer, Python 2 longs (`1L`) included.
    Int(i128),
    /// A number with a point or an exponent.
    Float(f64),
    /// A string whose bytes are UTF-8: `'…'` or `u'…'`.
    Text(String),
    /// `b'…'`, and a plain string whose bytes are not UTF-8: in Python 2 a string is bytes.
    Bytes(Vec<u8>),
    /// `[…]`
    List(Vec<Literal>),
    /// `(…, …)`, or values with commas and no brackets.
    Tuple(Vec<Literal>),
    /// `{key: value}`, as written: a key may stand there twice, and then the last one counts.
    Dict(Vec<(Literal, Literal)>),
}

impl Literal {
    /// The text of a string. `None` for everything else, bytes that are not UTF-8 included.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Bytes(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// The items of a list or a tuple.
    pub fn items(&self) -> Option<&[Literal]> {
        match self {
            Self::List(items) | Self::Tuple(items) => Some(items),
            _ => None,
        }
    }

    /// The value of a text key in a dictionary.
    pub fn get(&self, key: &str) -> Option<&Literal> {
        let Self::Dict(pairs) = self else { return None };
        pairs
            .iter()
            .rev()
            .find(|(name, _)| name.as_str() == Some(key))
            .map(|(_, value)| value)
    }

    /// A whole number from 0 up, written plain or in quotes: the agent writes both.
    pub fn to_u64(&self) -> Option<u64> {
        match self {
            Self::Int(number) => u64::try_from(*number).ok(),
            _ => {
                let digits = self.as_str()?.trim();
                let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
                plain.then(|| digits.parse().ok()).flatten()
            }
        }
    }

    /// What kind of value this is, for messages: they never show the value, which may be a secret.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Bool(_) => "a boolean",
            Self::Int(_) => "an integer",
            Self::Float(_) => "a floating point number",
            Self::Text(_) => "a string",
            Self::Bytes(_) => "a byte string",
            Self::List(_) => "a list",
            Self::Tuple(_) => "a tuple",
            Self::Dict(_) => "a dictionary",
        }
    }

    /// Can this be a key of a dictionary?
    pub(super) fn is_hashable(&self) -> bool {
        match self {
            Self::List(_) | Self::Dict(_) => false,
            Self::Tuple(items) => items.iter().all(Self::is_hashable),
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_may_be_quoted() {
        let text = |text: &str| Literal::Text(text.into());
        assert_eq!(Literal::Int(2).to_u64(), Some(2));
        assert_eq!(text(" 2048 ").to_u64(), Some(2048));
        for bad in [
            text(""),
            text("+2"),
            text("2M"),
            text("-1"),
            Literal::Int(-1),
            Literal::None,
        ] {
            assert_eq!(bad.to_u64(), None, "{bad:?}");
        }
    }

    #[test]
    fn the_last_of_two_equal_keys_counts() {
        let key = || Literal::Text("a".into());
        let dict = Literal::Dict(vec![(key(), Literal::Int(1)), (key(), Literal::Int(2))]);
        assert_eq!(dict.get("a"), Some(&Literal::Int(2)));
        assert_eq!(dict.get("b"), None);
    }
}
