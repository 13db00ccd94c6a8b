//! Which certificate a server shows, asked from the server itself.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt as _, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

const WITHIN: Duration = Duration::from_secs(3);
/// Longer than any first line of a server.
const LONGEST_INFO: usize = 64 * 1024;

/// The certificate that a server shows at `address`, proven against the authorities in a file. Where clients and leaf nodes
/// come in, the server `greets` in plain text before TLS begins; where routes and gateways do, it does not.
///
/// # Errors
/// When nobody answers, there is no TLS, or nobody in the file has signed the certificate.
pub async fn certificate(
    address: SocketAddr,
    greets: bool,
    authorities: &Path,
) -> io::Result<CertificateDer<'static>> {
    let mut roots = RootCertStore::empty();
    for authority in CertificateDer::pem_file_iter(authorities).map_err(io::Error::other)? {
        roots.add(authority.map_err(io::Error::other)?).map_err(io::Error::other)?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let shakes_hands = async {
        let mut stream = BufReader::new(TcpStream::connect(address).await?);
        let mut length = 0;
        while greets && stream.read_u8().await? != b'\n' {
            length += 1;
            if length > LONGEST_INFO {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
        let name = ServerName::IpAddress(address.ip().into());
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream.into_inner()).await?;
        let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first).cloned();
        shown.map(CertificateDer::into_owned).ok_or_else(|| io::ErrorKind::InvalidData.into())
    };
    tokio::time::timeout(WITHIN, shakes_hands).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
