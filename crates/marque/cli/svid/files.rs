//! SVIDs as PEM files, the key readable by its owner alone.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rustls_pki_types::CertificateDer;
use zeroize::Zeroizing;

use crate::grpc::workload::FetchedX509Svid;

/// How many base64 characters stand on a line (RFC 7468 2).
const LINE: usize = 64;

/// Writes `svid.N.pem`, `svid.N.key` and `bundle.N.pem` for each SVID, each file whole or not at all.
pub(super) fn write(folder: &Path, svids: &[FetchedX509Svid]) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for (index, svid) in svids.iter().enumerate() {
        let FetchedX509Svid { spiffe_id: _, hint: _, chain, key_der, bundle } = svid;
        put(
            &folder.join(format!("svid.{index}.key")),
            0o600,
            pem("PRIVATE KEY", key_der).as_bytes(),
        )?;
        put(&folder.join(format!("svid.{index}.pem")), 0o644, pem_certificates(chain).as_bytes())?;
        put(
            &folder.join(format!("bundle.{index}.pem")),
            0o644,
            pem_certificates(bundle).as_bytes(),
        )?;
    }
    Ok(())
}

/// Certificates, one after the other.
pub(super) fn pem_certificates(certificates: &[CertificateDer<'static>]) -> String {
    certificates.iter().map(|certificate| pem("CERTIFICATE", certificate).to_string()).collect()
}

fn pem(label: &str, der: &[u8]) -> Zeroizing<String> {
    let body = Zeroizing::new(BASE64_STANDARD.encode(der));
    let mut text = Zeroizing::new(String::with_capacity(body.len() * 2 + 64));
    text.push_str("-----BEGIN ");
    text.push_str(label);
    text.push_str("-----\n");
    for (index, character) in body.chars().enumerate() {
        if index > 0 && index % LINE == 0 {
            text.push('\n');
        }
        text.push(character);
    }
    text.push_str("\n-----END ");
    text.push_str(label);
    text.push_str("-----\n");
    text
}

fn put(path: &Path, mode: u32, text: &[u8]) -> io::Result<()> {
    let partial = path.with_extension("partial");
    // A file left over from before could have another mode.
    if let Err(error) = fs::remove_file(&partial)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&partial)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(partial, path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_readable_by_its_owner_alone_and_replaced_whole() {
        let folder = tempfile::tempdir().unwrap();
        let svid = |byte: u8| FetchedX509Svid {
            spiffe_id: String::new(),
            hint: String::new(),
            chain: vec![CertificateDer::from(vec![byte; 60])],
            key_der: Zeroizing::new(vec![byte; 60]),
            bundle: Vec::new(),
        };
        for byte in [1, 2] {
            write(folder.path(), &[svid(byte)]).unwrap();
        }
        let key = folder.path().join("svid.0.key");
        assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        let text = fs::read_to_string(key).unwrap();
        let label = pem("PRIVATE KEY", &[]).lines().next().unwrap().to_owned();
        assert!(text.starts_with(&format!("{label}\nAgIC")), "{text}");
        assert!(text.lines().all(|line| line.len() <= LINE), "{text}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
    }
}
