//! The families that a store takes, and how the rows of each are written and read. Jobs are none of them: stores pack them by
//! hand.

use std::sync::Arc;

use super::{Malformed, Stored};
use crate::domain::access::Token;
use crate::domain::audit::AuditRow;
use crate::domain::breaker::PluginBreaker;
use crate::domain::change::{Change, RememberedSubmit};
use crate::domain::family::{AnyRow, Family, KeyForm, Row, SharedRow};
use crate::domain::job::BrokenKey;
use crate::domain::plugin::Plugin;
use crate::domain::queue::QueueState;
use crate::domain::schedule::Schedule;
use crate::domain::service::ServiceState;

/// How the rows of one family are written and read.
#[derive(Clone, Copy)]
struct Form {
    family: &'static Family,
    version: u8,
    append_fields: fn(&dyn AnyRow, &mut Vec<u8>),
    read_fields: fn(u8, &[u8]) -> Result<SharedRow, Malformed>,
    append_json: fn(&dyn AnyRow, &mut Vec<u8>),
    of_json: fn(u8, &str) -> Result<SharedRow, Malformed>,
}

impl Form {
    fn of<T: Row + Stored>() -> Self {
        Self {
            family: T::ROWS,
            version: T::VERSION,
            append_fields: |row, buffer| typed::<T>(row).append_fields(buffer),
            read_fields: |version, fields| Ok(Arc::new(T::read_fields(version, fields)?)),
            append_json: |row, buffer| typed::<T>(row).append_json(buffer),
            of_json: |version, json| Ok(Arc::new(T::of_json(version, json)?)),
        }
    }
}

fn typed<T: Row>(row: &dyn AnyRow) -> &T {
    row.of().expect("a family has rows of one type")
}

/// See the module.
#[derive(Clone)]
pub struct Registry {
    /// By number.
    forms: Vec<Form>,
}

impl Registry {
    /// All families of this release.
    pub fn standard() -> Self {
        Self { forms: Vec::new() }
            .with::<Plugin>()
            .with::<Schedule>()
            .with::<QueueState>()
            .with::<ServiceState>()
            .with::<Token>()
            .with::<PluginBreaker>()
            .with::<RememberedSubmit>()
            .with::<AuditRow>()
            .with::<BrokenKey>()
    }

    /// And one more.
    ///
    /// # Panics
    ///
    /// When its number is that of another one, or the two sides of its definition do not agree: a fault of the program.
    #[must_use]
    pub fn with<T: Row + Stored>(mut self) -> Self {
        let family = T::ROWS;
        assert_eq!((family.number, family.name), (T::FAMILY, T::NAME), "one family has one number and one name");
        assert!(!matches!(family.number, 0 | u8::MAX), "stores keep that number for themselves");
        let is_countable = family.is_resident && family.keys == KeyForm::TenantAndName;
        assert!(family.most.is_none() || is_countable, "of {} the rows of a tenant cannot be counted", family.name);
        match self.forms.binary_search_by_key(&family.number, |form| form.family.number) {
            Ok(_) => panic!("there are two families of number {}", family.number),
            Err(place) => self.forms.insert(place, Form::of::<T>()),
        }
        self
    }

    fn form(&self, number: u8) -> Option<&Form> {
        let place = self.forms.binary_search_by_key(&number, |form| form.family.number).ok()?;
        self.forms.get(place)
    }

    /// The family of a number.
    pub fn family(&self, number: u8) -> Option<&'static Family> {
        self.form(number).map(|form| form.family)
    }

    /// The family of a name.
    pub fn named(&self, name: &str) -> Option<&'static Family> {
        self.families().find(|family| family.name == name)
    }

    /// All families, by number.
    pub fn families(&self) -> impl Iterator<Item = &'static Family> + use<'_> {
        self.forms.iter().map(|form| form.family)
    }

    /// The families that are not among [`super::FAMILIES`].
    pub fn added(&self) -> impl Iterator<Item = super::Family> + use<'_> {
        let is_added = |form: &&Form| super::FAMILIES.iter().all(|family| family.number != form.family.number);
        self.forms.iter().filter(is_added).map(|form| {
            let Family { number, name, .. } = *form.family;
            super::Family { number, name, version: form.version }
        })
    }

    /// The family of a change that is not among these: nothing of it can be written.
    pub fn stranger(&self, changes: &[Change]) -> Option<&'static Family> {
        changes.iter().filter_map(Change::family).find(|family| self.form(family.number).is_none())
    }

    /// Appends a row with its family and version in front, as [`super::encode`] does.
    ///
    /// # Panics
    ///
    /// When its family is a [`Registry::stranger`].
    pub fn append(&self, row: &dyn AnyRow, buffer: &mut Vec<u8>) {
        let form = self.known(row);
        buffer.extend([form.family.number, form.version]);
        (form.append_fields)(row, buffer);
    }

    /// Reads a row with its family and version in front.
    pub fn decode(&self, value: &[u8]) -> Result<SharedRow, Malformed> {
        match value {
            [number, version, fields @ ..] => match self.form(*number) {
                Some(form) => (form.read_fields)(*version, fields),
                None => Err(Malformed::new("a row", format!("family {number} is not known here"))),
            },
            _ => Err(Malformed::new("a row", "it is cut off")),
        }
    }

    /// The version in which rows of a family are written today.
    pub fn version(&self, family: &Family) -> Option<u8> {
        self.form(family.number).map(|form| form.version)
    }

    /// Appends a row as JSON ([`Stored::append_json`]).
    ///
    /// # Panics
    ///
    /// When its family is a [`Registry::stranger`].
    pub fn append_json(&self, row: &dyn AnyRow, buffer: &mut Vec<u8>) {
        (self.known(row).append_json)(row, buffer);
    }

    /// Reads a row of a family from JSON ([`Stored::of_json`]).
    pub fn of_json(&self, family: &Family, version: u8, json: &str) -> Result<SharedRow, Malformed> {
        match self.form(family.number) {
            Some(form) => (form.of_json)(version, json),
            None => Err(Malformed::new(family.name, "this family is not known here")),
        }
    }

    fn known(&self, row: &dyn AnyRow) -> &Form {
        self.form(row.family().number).expect("a commit of strange families is refused")
    }
}

/// The same families, in the same versions.
impl PartialEq for Registry {
    fn eq(&self, other: &Self) -> bool {
        let numbers = |form: &Form| (form.family.number, form.version);
        self.forms.iter().map(numbers).eq(other.forms.iter().map(numbers))
    }
}

impl Eq for Registry {}

impl Default for Registry {
    fn default() -> Self {
        Self::standard()
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.families().map(|family| family.name)).finish()
    }
}
