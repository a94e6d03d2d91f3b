//! Where exported records go, and the cursor that says how far they have come.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf};

use marque_audit::Leaf;
use marque_audit::format::Format;
use serde::{Deserialize, Serialize};

use super::super::super::failure::Failure;

/// What to do about a log that is not the one of the cursor.
const NEW_LOG: &str = "verify the log with a checkpoint that you kept: `marque audit verify \
                       --checkpoint`; a new cursor begins anew";
/// The most bytes that half a record can have: a form may be a few times as large as its leaf.
const LONGEST_HALF: u64 = 1024 * 1024;

/// What the cursor file has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cursor {
    /// Whose log it is.
    trust_domain: String,
    /// The number of the next record.
    next: u64,
    /// The hash of the leaf before that one; cursors of earlier versions have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_leaf: Option<String>,
}

/// Where records go, and how far they have come.
pub(super) struct Records {
    format: Format,
    out: Box<dyn Sink>,
    /// Whether what is there begins with a header already, or needs none.
    headed: bool,
    cursor: Option<(PathBuf, Option<Cursor>)>,
    trust_domain: String,
    pub(super) next: u64,
    pub(super) written: u64,
    /// The hash of the leaf before `next`.
    last: Option<String>,
}

/// Something that records can be put into, so that they are there after a crash.
trait Sink {
    fn put(&mut self, lines: &[u8]) -> io::Result<()>;
}

impl Sink for io::Stdout {
    fn put(&mut self, lines: &[u8]) -> io::Result<()> {
        let mut out = self.lock();
        out.write_all(lines)?;
        out.flush()
    }
}

impl Sink for File {
    fn put(&mut self, lines: &[u8]) -> io::Result<()> {
        self.write_all(lines)?;
        self.sync_data()
    }
}

impl Records {
    pub(super) fn open(
        format: Format,
        to: Option<&Path>,
        cursor: Option<&Path>,
    ) -> Result<Self, Failure> {
        let kept = cursor.map(read_cursor).transpose()?.flatten();
        let (out, headed): (Box<dyn Sink>, bool) = match to {
            // Whoever reads a pipe goes on with what it was told before.
            None => (Box::new(io::stdout()), kept.is_some()),
            Some(path) => {
                let failed = |error: io::Error| {
                    Failure::because(format!("cannot write to `{}`", path.display()), &error)
                };
                let file = File::options().create(true).append(true).open(path).map_err(failed)?;
                let there = file.metadata().map_err(failed)?;
                let length =
                    if there.is_file() { mended(&file, path, format)? } else { there.len() };
                (Box::new(file), length > 0)
            }
        };
        let cursor = cursor.map(|path| (path.to_owned(), kept));
        let (trust_domain, next, written, last) = (String::new(), 0, 0, None);
        Ok(Self { format, out, headed, cursor, trust_domain, next, written, last })
    }

    /// Says whose records they are; where the cursor stands, if there is one.
    pub(super) fn belongs_to(&mut self, trust_domain: &str) -> Result<Option<u64>, Failure> {
        self.trust_domain = trust_domain.to_owned();
        let Some((path, Some(kept))) = &self.cursor else { return Ok(None) };
        if kept.trust_domain != trust_domain {
            let message = format!(
                "the cursor `{}` is of {}, and the log of {trust_domain}",
                path.display(),
                kept.trust_domain
            );
            return Err(Failure::usage(message).next("keep a cursor for each trust domain"));
        }
        (self.next, self.last) = (kept.next, kept.last_leaf.clone());
        Ok(Some(kept.next))
    }

    /// Whether a log of so many leaves is the one that the cursor was kept for: it has the leaf `before` the next one still.
    pub(super) fn goes_on(&self, size: u64, before: Option<&Leaf>) -> Result<(), Failure> {
        let (Some(kept), Some(before)) = (&self.last, before) else { return self.reaches(size) };
        if *kept == before.hash().to_string() {
            return Ok(());
        }
        let message = format!("leaf {} is another than the one that was exported", before.seq());
        Err(Failure::failed(message).code(Some("history_rewritten".to_owned())).next(NEW_LOG))
    }

    /// Whether a log of so many leaves goes as far as the cursor, if there is one.
    pub(super) fn reaches(&self, size: u64) -> Result<(), Failure> {
        let kept = self.cursor.as_ref().and_then(|(_, kept)| kept.as_ref());
        let Some(next) = kept.map(|kept| kept.next).filter(|next| *next > size) else {
            return Ok(());
        };
        let message = format!("{next} records were exported, and the log has {size}");
        Err(Failure::failed(message).code(Some("shrunk".to_owned())).next(NEW_LOG))
    }

    pub(super) fn begin(&mut self, from: u64) -> Result<(), Failure> {
        self.next = from;
        let header = if self.headed { String::new() } else { self.header()? };
        self.headed = true;
        self.out.put(header.as_bytes()).map_err(Failure::from)
    }

    fn header(&self) -> Result<String, Failure> {
        self.format.header().map_err(|error| Failure::because("cannot write the header", &error))
    }

    /// Writes these, and then how far they have come.
    pub(super) fn write(&mut self, leaves: &[Leaf]) -> Result<(), Failure> {
        let end = if self.format == Format::Csv { "\r\n" } else { "\n" };
        let mut lines = String::new();
        for leaf in leaves {
            if leaf.seq() != self.next {
                let message = format!("record {} is missing, {} came", self.next, leaf.seq());
                return Err(Failure::failed(message).next("verify the log: `marque audit verify`"));
            }
            let line = self.format.line(leaf).map_err(|error| {
                Failure::because(format!("cannot write record {}", leaf.seq()), &error)
            })?;
            lines.push_str(&line);
            lines.push_str(end);
            self.next += 1;
        }
        self.out.put(lines.as_bytes())?;
        self.written += leaves.len() as u64;
        self.last = leaves.last().map(|leaf| leaf.hash().to_string()).or_else(|| self.last.take());
        self.keep()
    }

    /// Keeps the cursor even where there was nothing to write.
    pub(super) fn end(&mut self) -> Result<(), Failure> {
        if self.written == 0 && !self.trust_domain.is_empty() { self.keep() } else { Ok(()) }
    }

    fn keep(&self) -> Result<(), Failure> {
        let Some((path, _)) = &self.cursor else { return Ok(()) };
        let (trust_domain, last_leaf) = (self.trust_domain.clone(), self.last.clone());
        let cursor = Cursor { trust_domain, next: self.next, last_leaf };
        let text = serde_json::to_string(&cursor)?;
        let mut draft = path.clone().into_os_string();
        draft.push(".tmp");
        let written = || {
            let mut file = File::create(&draft)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&draft, path)
        };
        written().map_err(|error: io::Error| {
            Failure::because(format!("cannot write the cursor `{}`", path.display()), &error)
        })
    }
}

/// Takes away the half of a record that a full disk or a crash has left at the end of a file; how long the file is then.
fn mended(file: &File, path: &Path, format: Format) -> Result<u64, Failure> {
    let failed = |error: io::Error| {
        Failure::because(format!("cannot look at the end of `{}`", path.display()), &error)
    };
    let length = file.metadata().map_err(failed)?.len();
    if length == 0 {
        return Ok(0);
    }
    let mut there = File::open(path).map_err(failed)?;
    let whole = whole_records(&there, format).map_err(failed)?;
    if whole == length {
        return Ok(length);
    }
    let mut first = [0];
    there.seek(SeekFrom::Start(whole)).map_err(failed)?;
    there.read_exact(&mut first).map_err(failed)?;
    let begins = if format == Format::Csv { b'"' } else { b'{' };
    let half = Failure::failed(format!("`{}` ends in half a record", path.display()));
    if first != [begins] || length - whole > LONGEST_HALF {
        return Err(half.next(format!("name another file, or cut it off after {whole} bytes")));
    }
    file.set_len(whole).map_err(failed)?;
    half.warn("the half is taken away");
    Ok(whole)
}

/// How many bytes there are up to the last end of a record. In CSV a line end between quotes is none.
fn whole_records(file: impl Read, format: Format) -> io::Result<u64> {
    let mut reader = BufReader::new(file);
    let (mut at, mut whole, mut quoted) = (0, 0, false);
    loop {
        let chunk = reader.fill_buf()?;
        let read = chunk.len();
        if read == 0 {
            return Ok(whole);
        }
        for byte in chunk {
            at += 1;
            match *byte {
                b'"' if format == Format::Csv => quoted = !quoted,
                b'\n' if !quoted => whole = at,
                _ => {}
            }
        }
        reader.consume(read);
    }
}

fn read_cursor(path: &Path) -> Result<Option<Cursor>, Failure> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            let message = format!("cannot read the cursor `{}`", path.display());
            return Err(Failure::because(message, &error));
        }
    };
    let cursor = serde_json::from_str(&text).map_err(|error| {
        Failure::because(format!("`{}` is no cursor", path.display()), &error)
            .next("name another file, or remove it to begin anew")
    })?;
    Ok(Some(cursor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_record_at_the_end_of_a_file_is_taken_away() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mend = |format, text: &str| {
            fs::write(&path, text).unwrap();
            let file = File::options().append(true).open(&path).unwrap();
            let mended = mended(&file, &path, format).ok();
            (mended, fs::read_to_string(&path).unwrap())
        };
        for (format, text, whole) in [
            (Format::Ocsf, "", ""),
            (Format::Ocsf, "{}\n{}\n", "{}\n{}\n"),
            (Format::Ocsf, "{}\n{\"a", "{}\n"),
            (Format::Ocsf, "{\"a", ""),
            (Format::Csv, "\"a\"\r\n\"b\r\nc\"\r\n", "\"a\"\r\n\"b\r\nc\"\r\n"),
            (Format::Csv, "\"a\"\r\n\"b\r\n", "\"a\"\r\n"),
            (Format::Csv, "\"a\"\r\n\"b\"\"\r\n", "\"a\"\r\n"),
            (Format::Csv, "\"a\"\r\n\"b\"\r", "\"a\"\r\n"),
        ] {
            let length = u64::try_from(whole.len()).unwrap();
            assert_eq!(mend(format, text), (Some(length), whole.to_owned()), "{text}");
        }
        // What is no record is somebody's own.
        let large = format!("{{}}\n{{{}", "x".repeat(1024 * 1024));
        for other in ["a letter", large.as_str()] {
            assert_eq!(mend(Format::Ocsf, other), (None, other.to_owned()));
        }
    }

    #[test]
    fn a_cursor_goes_on_in_its_own_log_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cursor");
        let at = jiff::Timestamp::UNIX_EPOCH;
        let leaf = |reason: &str| {
            let event = marque_audit::Event::new(marque_audit::EventKind::Kill, at);
            let event = event.with_detail("reason", reason);
            Leaf::seal(event, &"prod.example.org".parse().unwrap(), 4, at).unwrap()
        };
        let code = |last: Option<String>, size: u64, before: &Leaf| {
            let trust_domain = "prod.example.org".to_owned();
            let cursor = Cursor { trust_domain, next: 5, last_leaf: last };
            fs::write(&path, serde_json::to_string(&cursor).unwrap()).unwrap();
            let mut records = Records::open(Format::Ocsf, None, Some(&path)).unwrap();
            assert_eq!(records.belongs_to("prod.example.org").ok(), Some(Some(5)));
            let failure = records.goes_on(size, Some(before)).err()?;
            ["shrunk", "history_rewritten"].into_iter().find(|code| failure.is(code))
        };
        let (own, other) = (leaf("own"), leaf("other"));
        let hash = Some(own.hash().to_string());
        assert_eq!(code(hash.clone(), 5, &own), None);
        assert_eq!(code(hash, 5, &other), Some("history_rewritten"));
        assert_eq!(code(None, 5, &other), None);
        assert_eq!(code(None, 4, &own), Some("shrunk"));
    }
}
