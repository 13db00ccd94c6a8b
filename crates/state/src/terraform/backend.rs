//! The `backend "s3"` block for a state in a bucket, for the Terraform that will read it.

use crate::location::Location;
use std::fmt::Write;

/// A version of Terraform: major and minor, which is what the backend's arguments depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32);

impl std::str::FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut numbers = text.trim_start_matches('v').split('.').map(str::parse);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(major)), Some(Ok(minor))) => Ok(Self(major, minor)),
            _ => Err("a version is written as 1.11.4".to_owned()),
        }
    }
}

/// The first with locks in the bucket itself, instead of in DynamoDB.
pub const WITH_LOCKFILE: Version = Version(1, 10);
/// The first with `endpoints`, `use_path_style` and the checks of today.
const WITH_ENDPOINTS: Version = Version(1, 6);

/// What is to be written into the block beside the address.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The endpoint, where it is to stand in the file; otherwise Terraform takes `AWS_ENDPOINT_URL_S3`.
    pub endpoint: Option<String>,
    /// The region; R2's is `auto`.
    pub region: Option<String>,
    /// Whether the state is encrypted by the service with a key of ours (SSE-C), which comes from `AWS_SSE_CUSTOMER_KEY`.
    pub customer_key: bool,
}

/// The block; `None` for a file, which needs none.
#[must_use]
pub fn block(location: &Location, version: Version, options: &Options) -> Option<String> {
    let Location::Bucket { scheme, bucket, key } = location else { return None };
    let r2 = *scheme == "r2";
    let mut rows: Vec<(&str, String)> = vec![("bucket", quote(bucket)), ("key", quote(key))];
    let usual = if r2 { "auto" } else { "us-east-1" };
    rows.push(("region", quote(options.region.as_deref().unwrap_or(usual))));
    if let Some(endpoint) = &options.endpoint {
        rows.push(match version >= WITH_ENDPOINTS {
            true => ("endpoints", format!("{{ s3 = {} }}", quote(endpoint))),
            false => ("endpoint", quote(endpoint)),
        });
    }
    if version >= WITH_LOCKFILE {
        rows.push(("use_lockfile", "true".to_owned()));
    }
    if options.customer_key || !r2 {
        // Without it, Terraform passes over a customer's key in silence and writes plain text.
        rows.push(("encrypt", "true".to_owned()));
    }
    if r2 || options.endpoint.is_some() {
        let path_style = if version >= WITH_ENDPOINTS { "use_path_style" } else { "force_path_style" };
        rows.push((path_style, "true".to_owned()));
        let mut skip =
            vec!["skip_credentials_validation", "skip_region_validation", "skip_metadata_api_check"];
        if version >= WITH_ENDPOINTS {
            skip.extend(["skip_requesting_account_id", "skip_s3_checksum"]);
        }
        rows.extend(skip.into_iter().map(|name| (name, "true".to_owned())));
    }
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut text = String::from("terraform {\n  backend \"s3\" {\n");
    for (name, value) in rows {
        let _ = writeln!(text, "    {name:width$} = {value}");
    }
    text.push_str("  }\n}\n");
    Some(text)
}

fn quote(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{}\"", escaped.replace("${", "$${").replace("%{", "%%{"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Run with `UPDATE_GOLDEN=1` to take a change over.
    fn golden(name: &str, text: &str) {
        let path = format!("{}/src/golden/{name}", env!("CARGO_MANIFEST_DIR"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, text).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap_or_default(), text, "{path} differs");
    }

    #[test]
    fn every_terraform_gets_the_block_that_it_understands() {
        let r2: Location = "r2://acme-terraform-state/nats/terraform.tfstate".parse().unwrap();
        let s3: Location = "s3://acme-terraform-state/nats/terraform.tfstate".parse().unwrap();
        let endpoint = Some("https://0123456789abcdef.r2.cloudflarestorage.com".to_owned());
        let with = Options { endpoint, ..Options::default() };
        for (name, location, version, options) in [
            ("r2-1.11.tf", &r2, "1.11.4", with.clone()),
            ("r2-1.6.tf", &r2, "1.6.0", with.clone()),
            ("r2-1.5.tf", &r2, "1.5.7", with.clone()),
            ("r2-endpoint-from-the-environment.tf", &r2, "1.11.4", Options::default()),
            ("r2-customer-key.tf", &r2, "1.11.4", Options { customer_key: true, ..with }),
            (
                "s3-1.11.tf",
                &s3,
                "1.11.4",
                Options { region: Some("eu-central-1".to_owned()), ..Options::default() },
            ),
        ] {
            golden(name, &block(location, version.parse().unwrap(), &options).unwrap());
        }
        assert_eq!(block(&Location::File("x".into()), Version(1, 11), &Options::default()), None);
    }

    #[test]
    fn what_terraform_would_interpolate_is_escaped() {
        assert_eq!(quote("a\"${x}%{y}\\"), r#""a\"$${x}%%{y}\\""#);
    }
}
