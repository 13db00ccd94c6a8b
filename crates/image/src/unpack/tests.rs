use std::fs;
use std::path::Path;

use serde_json::json;
use tar::{Builder, Header};

use super::*;
use crate::program::tests::elf;
use crate::{Architecture, Certificates, Environment, Program, Recipe, digest};

/// An entry as an attacker writes it: the header is filled by hand, since the library refuses such paths.
fn entry(archive: &mut Builder<Vec<u8>>, kind: EntryType, path: &str, link: &str, bytes: &[u8]) {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(if kind == EntryType::Directory { 0o750 } else { 0o4755 });
    header.set_size(bytes.len() as u64);
    let ustar = header.as_ustar_mut().unwrap();
    ustar.name[..path.len()].copy_from_slice(path.as_bytes());
    ustar.linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_uid(rustix::process::geteuid().as_raw().into());
    header.set_gid(rustix::process::getegid().as_raw().into());
    header.set_cksum();
    archive.append(&header, bytes).unwrap();
}

type Entry<'a> = (EntryType, &'a str, &'a str, &'a str);

/// A layout whose only image has these layers.
fn image(directory: &Path, layers: &[&[Entry<'_>]]) -> (Layout, Image) {
    let layout = Layout::create(directory).unwrap();
    let blob = |bytes: &[u8]| {
        let digest = digest::of(bytes);
        fs::write(directory.join("blobs/sha256").join(&digest[7..]), bytes).unwrap();
        digest
    };
    let (mut described, mut diff_ids) = (Vec::new(), Vec::new());
    for layer in layers {
        let mut archive = Builder::new(Vec::new());
        for (kind, path, link, text) in *layer {
            entry(&mut archive, *kind, path, link, text.as_bytes());
        }
        let bytes = archive.into_inner().unwrap();
        let digest = blob(&bytes);
        diff_ids.push(digest.clone());
        described.push(json!({ "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest, "size": bytes.len() }));
    }
    let config = json!({ "architecture": "amd64", "os": "linux", "rootfs": { "type": "layers", "diff_ids": diff_ids } }).to_string();
    let digest = blob(config.as_bytes());
    let config = json!({ "mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest, "size": config.len() });
    let media = "application/vnd.oci.image.manifest.v1+json";
    let manifest =
        json!({ "schemaVersion": 2, "mediaType": media, "config": config, "layers": described }).to_string();
    let digest = blob(manifest.as_bytes());
    let index = json!({ "schemaVersion": 2, "manifests": [{ "mediaType": media, "digest": digest, "size": manifest.len(),
        "annotations": { "org.opencontainers.image.ref.name": "x" } }] });
    fs::write(directory.join("index.json"), index.to_string()).unwrap();
    let image = layout.image("x").unwrap();
    (layout, image)
}

const FILE: EntryType = EntryType::Regular;
const DIRECTORY: EntryType = EntryType::Directory;

#[test]
fn upper_layers_replace_hide_and_clear_what_is_below() {
    let place = tempfile::tempdir().unwrap();
    let lower: &[Entry<'_>] = &[
        (DIRECTORY, "./", "", ""),
        (DIRECTORY, "a/", "", ""),
        (FILE, "a/one", "", "1"),
        (FILE, "a/two", "", "2"),
        (FILE, "/b/deep/file", "", "b"),
        (FILE, "kept", "", "k"),
        (EntryType::Link, "hard", "kept", ""),
        (EntryType::Symlink, "soft", "/etc/passwd", ""),
    ];
    let upper: &[Entry<'_>] = &[
        (FILE, "a/.wh.one", "", ""),
        (FILE, "b/new", "", "n"),
        (FILE, "b/.wh..wh..opq", "", ""),
        (FILE, "soft", "", "a file now"),
    ];
    let (layout, image) = image(&place.path().join("layout"), &[lower, upper]);
    assert_eq!(layout.verify(&image).unwrap().blobs, 4);
    let root = place.path().join("root");
    unpack(&layout, &image, &root).unwrap();
    assert!(!root.join("a/one").exists() && !root.join("b/deep").exists());
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap();
    assert_eq!([read("a/two"), read("b/new"), read("hard"), read("soft")], ["2", "n", "k", "a file now"]);
    let mode = |path: &str| fs::metadata(root.join(path)).unwrap().permissions().mode() & 0o7777;
    assert_eq!([mode("a"), mode("b"), mode("a/two")], [0o750, 0o755, 0o755], "and no setuid bit");
    assert!(matches!(unpack(&layout, &image, &root), Err(Error::Exists { .. })));
    let once = unpack_once(&layout, &image, &place.path().join("roots")).unwrap();
    assert_eq!(unpack_once(&layout, &image, &place.path().join("roots")).unwrap(), once);
}

#[test]
fn nothing_gets_out_and_nothing_is_left_behind() {
    let escapes: &[(&str, &[Entry<'_>])] = &[
        ("climbs", &[(FILE, "../outside", "", "x")]),
        ("climbs from within", &[(FILE, "a/../../outside", "", "x")]),
        ("writes through a link", &[(EntryType::Symlink, "way", "..", ""), (FILE, "way/outside", "", "x")]),
        (
            "hides through a link",
            &[(EntryType::Symlink, "way", "..", ""), (FILE, "way/.wh.precious", "", "")],
        ),
        (
            "clears through a link",
            &[(EntryType::Symlink, "way", "..", ""), (FILE, "way/.wh..wh..opq", "", "")],
        ),
        ("hides its parent", &[(FILE, "a/.wh...", "", "")]),
        ("links to what is outside", &[(EntryType::Link, "in", "../precious", "")]),
        (
            "links through a link",
            &[(EntryType::Symlink, "way", "..", ""), (EntryType::Link, "in", "way/precious", "")],
        ),
        ("is a device", &[(EntryType::Char, "null", "", "")]),
        ("is a pipe", &[(EntryType::Fifo, "pipe", "", "")]),
    ];
    for (what, layer) in escapes {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("precious"), "precious").unwrap();
        let (layout, image) = image(&place.path().join("layout"), &[layer]);
        let error = unpack(&layout, &image, &place.path().join("root")).unwrap_err();
        assert!(matches!(error, Error::Unsafe { .. }), "{what}: {error}");
        let mut left: Vec<_> =
            fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["layout", "precious"], "{what}");
        assert_eq!(fs::read_to_string(place.path().join("precious")).unwrap(), "precious");
    }
}

fn recipe() -> Recipe {
    Recipe {
        program: Program::new(elf(62, 1), Architecture::Amd64).unwrap(),
        version: "2.15.1".into(),
        certificates: Certificates::from_pem(
            "-----BEGIN CERTIFICATE-----\nMAMCAQU=\n-----END CERTIFICATE-----",
        )
        .unwrap(),
        environment: Environment::Staging,
    }
}

#[test]
fn a_layout_holds_many_images_and_building_again_changes_nothing() {
    let place = tempfile::tempdir().unwrap();
    let layout = Layout::create(&place.path().join("images")).unwrap();
    let first = layout.build(&recipe(), "nats:staging").unwrap();
    let other = Recipe { environment: Environment::Production, ..recipe() };
    layout.build(&other, "nats:production").unwrap();
    let all = |directory: &Path| -> Vec<(String, Vec<u8>)> {
        let mut files: Vec<_> = fs::read_dir(directory.join("blobs/sha256"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .chain([directory.join("index.json"), directory.join("oci-layout")])
            .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(path).unwrap()))
            .collect();
        files.sort();
        files
    };
    let before = all(layout.path());
    assert_eq!(layout.build(&recipe(), "nats:staging").unwrap().digest, first.digest);
    assert_eq!(all(layout.path()), before);
    assert_eq!(layout.names().unwrap(), ["nats:production", "nats:staging"]);
    // Two layers that both share, and two documents each.
    assert_eq!(before.len(), 2 + 4 + 2);

    let (found, image) = crate::find(place.path(), "nats:staging").unwrap();
    assert_eq!((found.path(), &image.digest), (layout.path(), &first.digest));
    let Err(Error::NoSuchImage { known, .. }) = crate::find(place.path(), "nats:x") else { panic!("none") };
    assert_eq!(known, ["nats:production", "nats:staging"]);

    let root = place.path().join("root");
    unpack(&layout, &image, &root).unwrap();
    assert_eq!(fs::read(root.join("nats-server")).unwrap(), elf(62, 1));
    assert_eq!(fs::read_to_string(root.join("etc/nats/nats-server.conf")).unwrap(), crate::CONFIGURATION);
    assert_eq!(fs::metadata(root.join("data")).unwrap().permissions().mode() & 0o7777, 0o700);
}

#[test]
fn damage_is_found_wherever_it_is_and_building_again_cures_it() {
    let place = tempfile::tempdir().unwrap();
    let layout = Layout::create(&place.path().join("images")).unwrap();
    let image = layout.build(&recipe(), "x").unwrap();
    let blobs: Vec<_> = fs::read_dir(layout.path().join("blobs/sha256"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(blobs.len(), 4);
    for path in blobs {
        let right = fs::read(&path).unwrap();
        let mut flipped = right.clone();
        flipped[right.len() / 2] ^= 1;
        for wrong in [Some(flipped.as_slice()), Some(&right[..right.len() - 1]), None] {
            match wrong {
                Some(bytes) => fs::write(&path, bytes).unwrap(),
                None => fs::remove_file(&path).unwrap(),
            }
            let found = layout.image("x").and_then(|image| layout.verify(&image).map(|_| ()));
            assert!(matches!(found, Err(Error::Damaged { .. })), "{found:?}");
            assert_eq!(layout.build(&recipe(), "x").unwrap().digest, image.digest);
            layout.verify(&layout.image("x").unwrap()).unwrap();
        }
    }
}
