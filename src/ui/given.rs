//! What addresses and forms carry. What cannot be read is answered with a page that says so, not with a bare line of text.

use std::fmt::Display;

use axum::Form;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;

use super::trouble::Trouble;
use super::{Console, Shared};

/// A part of an address: its path, or its query.
pub(super) struct Given<E>(pub(super) E);

impl<E> FromRequestParts<Shared> for Given<E>
where
    E: FromRequestParts<Shared> + Send,
    E::Rejection: Display + Send + Sync,
{
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, shared: &Shared) -> Result<Self, Response> {
        match E::from_request_parts(parts, shared).await {
            Ok(given) => Ok(Self(given)),
            Err(error) => Err(refused(parts, shared, &error).await),
        }
    }
}

/// The fields of a form, as somebody filled them in.
pub(super) struct Filled<T>(pub(super) T);

impl<T: DeserializeOwned + Send> FromRequest<Shared> for Filled<T> {
    type Rejection = Response;

    async fn from_request(request: Request, shared: &Shared) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        match Form::from_request(Request::from_parts(parts.clone(), body), shared).await {
            Ok(Form(fields)) => Ok(Self(fields)),
            Err(error) => Err(refused(&mut parts, shared, &error).await),
        }
    }
}

async fn refused(parts: &mut Parts, shared: &Shared, error: &(dyn Display + Sync)) -> Response {
    let trouble = Trouble::field(error.to_string());
    match Console::from_request_parts(parts, shared).await {
        Ok(console) => console.refuse(&trouble),
        Err(error) => error.into_response(),
    }
}
