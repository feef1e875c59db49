//! One place where the file is to be had: found once, then read from, always the same version of it.

use std::{
    fmt,
    io::{self, Read},
    ops::Range,
    sync::{Mutex, PoisonError},
};

use crate::{
    address::{Address, digits},
    body::Incoming,
    client::{Bearer, Client},
    error::{FetchError, Lasting},
    exchange::{Answer, Wanted},
    oci, page,
    url::Url,
    validator::Validator,
};

/// What is read to learn what a file is.
const GLANCE: u64 = 1 << 10;

/// One place where the file is to be had. Reads may be going on in several threads at once.
#[derive(Debug)]
pub struct Mirror {
    client: Client,
    address: Address,
    bearer: Option<Bearer>,
    /// What the file must be, where that is known.
    expected: Expected,
    found: Mutex<Option<Found>>,
}

/// What the file must be, where that is known.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Expected {
    pub(crate) length: Option<u64>,
    /// Somebody compares the whole with it, so that no mixture passes.
    pub(crate) sha256: Option<[u8; 32]>,
}

/// The file, as it was found.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    /// Where the redirects ended.
    url: Url,
    pub(crate) length: u64,
    validator: Option<Validator>,
    /// From a registry's manifest.
    pub(crate) sha256: Option<[u8; 32]>,
    /// A token that the registry gave out.
    bearer: Option<Bearer>,
}

impl Mirror {
    pub(crate) fn new(
        client: &Client,
        address: Address,
        bearer: Option<Bearer>,
        expected: Expected,
    ) -> Self {
        Self { client: client.clone(), address, bearer, expected, found: Mutex::default() }
    }

    pub(crate) fn expect(&mut self, expected: Expected) {
        self.expected = expected;
    }

    /// Returns where it is said to be.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Begins to read a range of the file. Blocks until the server answers.
    ///
    /// Fails with [`FetchError::Replaced`] where the file is not the one that was found first, and with
    /// [`FetchError::Unvouched`] where nobody can tell whether it is. Where a redirect has led to a place that fails, the
    /// first one is asked again where to go.
    pub fn read(&self, range: Range<u64>) -> Result<Body, FetchError> {
        let found = self.find()?;
        match self.read_found(&found, &range) {
            Err(error) if may_have_moved(&error, &found.url, &self.address) => {
                let again = self.find_again(&found)?;
                self.read_found(&again, &range)
            }
            other => other,
        }
    }

    /// Finds the file, if nobody has yet.
    pub(crate) fn find(&self) -> Result<Found, FetchError> {
        if let Some(found) = self.found().clone() {
            return Ok(found);
        }
        let found = self.look()?;
        Ok(self.found().get_or_insert(found).clone())
    }

    /// Asks again where the file is; it must be the same one.
    fn find_again(&self, before: &Found) -> Result<Found, FetchError> {
        let found = self.look()?;
        if found.length != before.length {
            return Err(self.replaced(&format!("it has {} bytes now", found.length)));
        }
        let is_vouched = self.is_checked() || before.validator.is_none();
        if !is_vouched && found.validator != before.validator {
            return Err(self.replaced("another version of it is there now"));
        }
        *self.found() = Some(found.clone());
        Ok(found)
    }

    fn look(&self) -> Result<Found, FetchError> {
        let found = match &self.address {
            Address::File(url) => glance(&self.client, url, self.bearer.as_ref())?,
            Address::Registry(registry) => {
                let layer = oci::layer(&self.client, registry, self.bearer.as_ref())?;
                let bearer = layer.bearer.or_else(|| self.bearer.clone());
                let found = glance(&self.client, &layer.url, bearer.as_ref())?;
                if found.length != layer.size {
                    return Err(self.other_length(found.length, layer.size));
                }
                Found { sha256: Some(layer.sha256), bearer, ..found }
            }
        };
        if let Some(expected) = self.expected.length.filter(|expected| *expected != found.length) {
            return Err(self.other_length(found.length, expected));
        }
        if let (Some(expected), Some(sha256)) = (self.expected.sha256, found.sha256)
            && expected != sha256
        {
            return Err(FetchError::OtherDigest {
                image: self.address.to_string(),
                found: digits(&sha256),
                expected: digits(&expected),
            });
        }
        Ok(found)
    }

    fn read_found(&self, found: &Found, range: &Range<u64>) -> Result<Body, FetchError> {
        let Range { start, end } = *range;
        let end = end.min(found.length);
        let url = found.url.to_string();
        let is_vouched = self.is_checked() || found.validator.is_some();
        if start > 0 && !is_vouched {
            return Err(FetchError::Unvouched { url });
        }
        let version = found.validator.as_ref().map(Validator::word);
        let range = (start < end).then_some((start, end));
        let wanted = Wanted { range, version, ..Wanted::default() };
        let bearer = found.bearer.as_ref().or(self.bearer.as_ref());
        let answer = self.client.ask(&found.url, &wanted, bearer).map_err(|error| match error {
            // There are no such bytes: it has become shorter.
            FetchError::Status { status: 416, .. } => self.replaced("it is shorter now"),
            other => other,
        })?;
        let skipped = self.checked(&answer, found, start, end)?;
        let mut body = Body { incoming: answer.body, left: end - start, is_whole: false };
        if skipped > 0 {
            body.skip(skipped)?;
        }
        body.is_whole = end == found.length;
        Ok(body)
    }

    /// Makes sure that the answer is of the file that was found; returns how many of its bytes come before the range.
    fn checked(
        &self,
        answer: &Answer,
        found: &Found,
        start: u64,
        end: u64,
    ) -> Result<u64, FetchError> {
        let same = found.validator.as_ref().map(|validator| validator.is_of(&answer.head));
        if same == Some(Some(false)) {
            return Err(self.replaced("another version of it is there now"));
        }
        if answer.head.status == 206 {
            let got = answer.head.field("content-range").unwrap_or("no range");
            let other = FetchError::OtherRange {
                url: answer.url.to_string(),
                asked: format!("{start}-{}", end.saturating_sub(1)),
                got: got.chars().take(60).collect(),
            };
            let part = answer.head.range().ok_or(other)?;
            if part.length != found.length {
                return Err(self.replaced(&format!("it has {} bytes now", part.length)));
            }
            if part.first != start || part.last + 1 != end {
                return Err(FetchError::OtherRange {
                    url: answer.url.to_string(),
                    asked: format!("{start}-{}", end.saturating_sub(1)),
                    got: format!("{}-{}", part.first, part.last),
                });
            }
            return Ok(0);
        }
        let length = length(answer)?;
        if length != found.length {
            return Err(self.replaced(&format!("it has {length} bytes now")));
        }
        // All of it, from the start: the server knows no ranges, or it is another version.
        if start > 0 && same != Some(Some(true)) && !self.is_checked() {
            return Err(self.replaced("the server sends all of it again"));
        }
        Ok(start)
    }

    /// Holds where somebody compares the whole with a digest.
    fn is_checked(&self) -> bool {
        self.expected.sha256.is_some() || matches!(self.address, Address::Registry(_))
    }

    fn found(&self) -> std::sync::MutexGuard<'_, Option<Found>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn replaced(&self, how: &str) -> FetchError {
        FetchError::Replaced { url: self.address.to_string(), how: how.to_owned() }
    }

    fn other_length(&self, found: u64, expected: u64) -> FetchError {
        FetchError::OtherLength { url: self.address.to_string(), found, expected }
    }
}

/// Holds where asking the first address again can help: a redirect's end, a signature or a token may be over.
fn may_have_moved(error: &FetchError, found: &Url, address: &Address) -> bool {
    let is_direct = matches!(address, Address::File(url) if url == found);
    !is_direct && error.lasting() != Lasting::Replaced
}

/// Learns where a file is, how long it is, and which version; and that it is no page for people.
fn glance(client: &Client, url: &Url, bearer: Option<&Bearer>) -> Result<Found, FetchError> {
    let wanted = Wanted { range: Some((0, GLANCE)), ..Wanted::default() };
    let mut answer = match client.ask(url, &wanted, bearer) {
        // An empty file has no first byte.
        Err(FetchError::Status { status: 416, .. }) => {
            client.ask(url, &Wanted::default(), bearer)?
        }
        other => other?,
    };
    let length = if answer.head.status == 206 {
        let part = answer.head.range().filter(|part| part.first == 0);
        part.map(|part| part.length)
            .ok_or_else(|| FetchError::NoLength { url: answer.url.to_string() })?
    } else {
        length(&answer)?
    };
    let limit = usize::try_from(GLANCE.min(length)).unwrap_or(0);
    let mut first = vec![0; limit];
    let mut got = 0;
    while got < first.len() {
        match answer.body.read(&mut first[got..])? {
            0 => break,
            count => got += count,
        }
    }
    if let Some(title) = page::page(&first[..got]) {
        let title = if title.is_empty() { title } else { format!(": {title:?}") };
        return Err(FetchError::Page { url: answer.url.to_string(), title });
    }
    let validator = Validator::of(&answer.head);
    Ok(Found { url: answer.url, length, validator, sha256: None, bearer: None })
}

fn length(answer: &Answer) -> Result<u64, FetchError> {
    match answer.head.framing() {
        Ok(crate::head::Framing::Length(length)) => Ok(length),
        _ => Err(FetchError::NoLength { url: answer.url.to_string() }),
    }
}

/// The bytes of a range. Ends after all of them; every other end is an error with an [`FetchError`] in it.
#[derive(Debug)]
pub struct Body {
    incoming: Incoming,
    left: u64,
    /// Nothing may follow.
    is_whole: bool,
}

impl Body {
    fn skip(&mut self, mut bytes: u64) -> Result<(), FetchError> {
        let mut piece = vec![0; 64 << 10];
        while bytes > 0 {
            let most = usize::try_from(bytes).unwrap_or(usize::MAX).min(piece.len());
            match self.incoming.read(&mut piece[..most])? {
                0 => return Err(self.cut()),
                count => bytes -= u64::try_from(count).unwrap_or(u64::MAX),
            }
        }
        Ok(())
    }

    fn cut(&self) -> FetchError {
        FetchError::Cut { host: self.incoming.host().to_owned(), missing: self.left }
    }

    /// Reads some bytes; none at the end.
    fn some(&mut self, into: &mut [u8]) -> Result<usize, FetchError> {
        if self.left == 0 {
            if std::mem::take(&mut self.is_whole) && self.incoming.read(&mut [0])? > 0 {
                return Err(FetchError::Longer { host: self.incoming.host().to_owned() });
            }
            return Ok(0);
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(into.len());
        match self.incoming.read(&mut into[..most])? {
            0 if most > 0 => Err(self.cut()),
            count => {
                self.left -= u64::try_from(count).unwrap_or(u64::MAX);
                Ok(count)
            }
        }
    }
}

impl Read for Body {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.some(into).map_err(io::Error::from)
    }
}

impl fmt::Display for Mirror {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}
