//! Whom a token exchange is for: an agent's own SVID, a person's ID token, or a token of this service.
//!
//! The path of an exchange follows from what the subject token *is*, never from which parameters came with it
//! (keycloak#52691). Deliberately absent: what the subject may have.

pub(crate) mod actor;
pub(crate) mod person;
pub(crate) mod svid;
pub(crate) mod token;

use marque_jose::UnverifiedJws;

pub(crate) use actor::Actor;
pub use person::Person;
pub(crate) use token::SubjectToken;

use crate::{
    ACCESS_TOKEN_TYPE, AuthenticatedClient, OAuthError, OAuthErrorCode, TRANSACTION_TOKEN_TYPE,
    TokenService,
    client::ClientCredentials,
    oidc::PersonVerifier,
    request::{ExchangeRequest, SubjectTokenType},
};

/// Whom an exchange is for, verified.
#[derive(Debug)]
pub(crate) enum Subject {
    /// The client's own SVID, in place of whose scope the grant stands.
    Svid(AuthenticatedClient),
    /// A person, for whom the client acts.
    Person(Box<Person>),
    /// A token of this service, to be narrowed or handed on.
    Token(Box<SubjectToken>),
}

/// What a token is, by its own account. It is then verified as that and as nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SubjectKind {
    Svid,
    Person,
    Token,
    Transaction,
}

impl SubjectKind {
    /// What names a configured issuer of ID tokens is an ID token or nothing; an access token has a `typ` of its own
    /// (RFC 9068 §2.1), which no SVID may have.
    fn of(token: &str, persons: &PersonVerifier) -> Self {
        let Ok(token) = UnverifiedJws::parse(token) else { return Self::Svid };
        if persons.is_of_an_issuer(&token) {
            return Self::Person;
        }
        match token.header().typ() {
            Some(typ) if is_type(typ, ACCESS_TOKEN_TYPE) => Self::Token,
            Some(typ) if is_type(typ, TRANSACTION_TOKEN_TYPE) => Self::Transaction,
            _ => Self::Svid,
        }
    }

    /// Whether the client may say of it what it says (RFC 8693 §3): each kind is a JWT, and has a type of its own.
    const fn fits(self, named: SubjectTokenType) -> bool {
        match (self, named) {
            (_, SubjectTokenType::Jwt)
            | (Self::Token, SubjectTokenType::AccessToken)
            | (Self::Transaction, SubjectTokenType::TransactionToken)
            | (Self::Person, SubjectTokenType::IdToken) => true,
            (_, SubjectTokenType::AccessToken)
            | (_, SubjectTokenType::TransactionToken)
            | (_, SubjectTokenType::IdToken) => false,
        }
    }
}

/// RFC 9068 §4: with and without `application/`, in any case.
fn is_type(typ: &str, expected: &str) -> bool {
    let bare = match typ.get(..12) {
        Some(prefix) if prefix.eq_ignore_ascii_case("application/") => typ.get(12..),
        _ => Some(typ),
    };
    bare.is_some_and(|bare| bare.eq_ignore_ascii_case(expected))
}

impl TokenService {
    /// Verifies the subject token as what it is.
    ///
    /// # Errors
    /// `invalid_request`, whatever is wrong with it (RFC 8693 §2.2.2).
    pub(crate) async fn subject(
        &self,
        credentials: &ClientCredentials,
        request: &ExchangeRequest,
        client: &AuthenticatedClient,
    ) -> Result<Subject, OAuthError> {
        let token = &request.subject_token;
        let own =
            credentials.assertion().is_some_and(|own| own.expose_token() == token.expose_token());
        // What authenticated the client is an SVID; it need not be read once more.
        let kind = if own {
            SubjectKind::Svid
        } else {
            SubjectKind::of(token.expose_token(), &self.persons)
        };
        if !kind.fits(request.subject_token_type) {
            return Err(OAuthError::new(
                OAuthErrorCode::InvalidRequest,
                "the subject token is not of the type that the request says",
            ));
        }
        match kind {
            SubjectKind::Svid => self.own_svid(credentials, request, client).map(Subject::Svid),
            SubjectKind::Person => {
                self.person(token).map(|person| Subject::Person(Box::new(person)))
            }
            SubjectKind::Token | SubjectKind::Transaction => {
                self.subject_token(token).await.map(|token| Subject::Token(Box::new(token)))
            }
        }
    }
}
