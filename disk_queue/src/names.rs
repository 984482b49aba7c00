//! Names of files.

/// What the files of a segment are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name {
    /// Grows from segment to segment: the order, also where two have the same first id.
    pub(crate) number: u64,
    /// Id of its first record.
    pub(crate) first: u64,
    /// Begins every checksum.
    pub(crate) salt: u64,
}

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holds {
    /// Records.
    Records,
    /// Which are done.
    Acks,
    /// Records of a segment that was damaged, for people.
    Damaged,
    /// Records of a segment that the disk did not give, for people: they may be whole.
    Unreadable,
}

/// Version of the formats.
const VERSION: &str = "v1";

impl Name {
    pub(crate) fn file(&self, holds: Holds) -> String {
        let what = match holds {
            Holds::Records => "segment",
            Holds::Acks => "acks",
            Holds::Damaged => "damaged",
            Holds::Unreadable => "unreadable",
        };
        format!("{:016x}-{:016x}-{:016x}.{VERSION}.{what}", self.number, self.first, self.salt)
    }

    /// Reads a name; `None` when it is of nothing that belongs here.
    ///
    /// # Errors
    /// The version, when it is not that of this program.
    pub(crate) fn parse(name: &str) -> Option<Result<(Name, Holds), String>> {
        let mut parts = name.split('.');
        let (stem, version, what) = (parts.next()?, parts.next()?, parts.next()?);
        let holds = match what {
            "segment" => Holds::Records,
            "acks" => Holds::Acks,
            "damaged" => Holds::Damaged,
            "unreadable" => Holds::Unreadable,
            _ => return None,
        };
        let numbers: Vec<u64> = stem
            .split('-')
            .filter(|digits| digits.len() == 16)
            .filter_map(|digits| u64::from_str_radix(digits, 16).ok())
            .collect();
        let [number, first, salt] = numbers[..] else { return None };
        if parts.next().is_some() {
            return None;
        }
        if version != VERSION {
            return Some(Err(version.to_owned()));
        }
        Some(Ok((Name { number, first, salt }, holds)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_was_written_and_sorts_by_its_number() {
        let name = Name { number: 10, first: 9, salt: u64::MAX };
        for holds in [Holds::Records, Holds::Acks, Holds::Damaged, Holds::Unreadable] {
            assert_eq!(Name::parse(&name.file(holds)), Some(Ok((name, holds))));
        }
        let later = Name { number: 11, first: 9, salt: 0 };
        assert!(name < later && name.file(Holds::Acks) < later.file(Holds::Acks));
    }

    #[test]
    fn other_files_are_none_of_ours_and_other_versions_are_told() {
        for other in ["owner", "", "a.v1.segment", "0-0-0.v1.segment", "x.segment"] {
            assert_eq!(Name::parse(other), None, "{other}");
        }
        let newer = Name { number: 1, first: 1, salt: 1 }.file(Holds::Acks).replace("v1", "v2");
        assert_eq!(Name::parse(&newer), Some(Err("v2".to_owned())));
    }
}
