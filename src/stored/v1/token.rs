//! A token, as the host keeps it.

use super::leaf::{Hash, Text, Time, parsed};
use crate::domain::access;
use crate::domain::id::{TenantId, TokenName};
use crate::stored::shape::{Unfit, shape, words};

words! {
    /// How far a right reaches.
    Reach is access::Reach { None, Own, All }
}

shape! {
    /// A token.
    Token<'a> {
        always {
            name: Text<'a>,
            digest: Hash,
            rights: Rights,
            created_on: Time,
            created_by: Text<'a>,
        }
        later {
            tenant: u32,
            expires_on: Option<Time>,
        }
    }
}

shape! {
    /// What its holder may do.
    Rights {
        always {}
        later {
            submit: bool,
            read: Reach,
            write: Reach,
            payload: Reach,
            admin: bool,
            keys: Reach,
        }
    }
}

impl<'a> From<&'a access::Token> for Token<'a> {
    fn from(token: &'a access::Token) -> Self {
        let access::Token { tenant, name, digest, rights, created_on, created_by, expires_on } = token;
        let access::Rights { submit, read, write, payload, admin, keys } = *rights;
        Self {
            name: name.as_str().into(),
            digest: (*digest).into(),
            rights: Rights {
                submit,
                read: read.into(),
                write: write.into(),
                payload: payload.into(),
                admin,
                keys: keys.into(),
            },
            created_on: (*created_on).into(),
            created_by: created_by.into(),
            tenant: tenant.0,
            expires_on: expires_on.map(Time::from),
        }
    }
}

impl TryFrom<Token<'_>> for access::Token {
    type Error = Unfit;

    fn try_from(shape: Token<'_>) -> Result<Self, Unfit> {
        let Rights { submit, read, write, payload, admin, keys } = shape.rights;
        Ok(Self {
            tenant: TenantId(shape.tenant),
            name: parsed(&shape.name, TokenName::new)?,
            digest: shape.digest.into(),
            rights: access::Rights {
                submit,
                read: read.into(),
                write: write.into(),
                payload: payload.into(),
                admin,
                keys: keys.into(),
            },
            created_on: shape.created_on.into(),
            created_by: shape.created_by.into(),
            expires_on: shape.expires_on.map(Into::into),
        })
    }
}
