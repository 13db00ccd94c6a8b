//! The nats-server that goes into the image: it must be able to run there, which is found out before anything is built.
//!
//! An image without a system in it has no dynamic loader and no libraries. A program that needs them fails in the cloud,
//! with "no such file or directory", long after the build went well.

use std::path::Path;

use object::elf::{self, FileHeader64};
use object::read::elf::{FileHeader as _, ProgramHeader as _};
use object::{Endianness, FileKind};

use crate::Error;

/// What the image runs on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Architecture {
    /// 64-bit x86, which is what Cloudflare's containers are.
    #[default]
    Amd64,
    /// 64-bit ARM.
    Arm64,
}

impl Architecture {
    /// The name that images use for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    const fn machine(self) -> u16 {
        match self {
            Self::Amd64 => elf::EM_X86_64,
            Self::Arm64 => elf::EM_AARCH64,
        }
    }
}

/// A static program for Linux.
#[derive(Clone, Debug)]
pub struct Program {
    bytes: Vec<u8>,
    architecture: Architecture,
}

impl Program {
    /// Reads a program.
    ///
    /// # Errors
    /// When it cannot be read, or could not run in the image.
    pub fn read(path: &Path, architecture: Architecture) -> Result<Self, Error> {
        let bytes =
            std::fs::read(path).map_err(|source| Error::Unreadable { path: path.to_owned(), source })?;
        Self::new(bytes, architecture).map_err(|why| Error::Program { path: path.to_owned(), why })
    }

    /// A program from its bytes. `Err` says what is wrong with it.
    ///
    /// # Errors
    /// When it could not run in the image.
    pub fn new(bytes: Vec<u8>, architecture: Architecture) -> Result<Self, String> {
        check(&bytes, architecture)?;
        Ok(Self { bytes, architecture })
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What it runs on.
    pub const fn architecture(&self) -> Architecture {
        self.architecture
    }
}

/// How programs for macOS begin: for one processor, and for several.
const MACOS: [&[u8]; 2] = [b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe"];

fn check(bytes: &[u8], architecture: Architecture) -> Result<(), String> {
    match FileKind::parse(bytes) {
        Ok(FileKind::Elf64) => {}
        Ok(FileKind::Elf32) => return Err("it is a program of 32 bits".into()),
        Ok(_) | Err(_) if bytes.starts_with(b"#!") => {
            return Err("it is a script, and nothing could run it".into());
        }
        Ok(_) | Err(_) if MACOS.iter().any(|magic| bytes.starts_with(magic)) => {
            return Err("it is a program for macOS".into());
        }
        Ok(_) | Err(_) => return Err("it is no program for Linux".into()),
    }
    let broken = |error: object::Error| format!("it is damaged: {error}");
    let header = FileHeader64::<Endianness>::parse(bytes).map_err(broken)?;
    let endian = header.endian().map_err(broken)?;
    let machine = header.e_machine(endian);
    if machine != architecture.machine() {
        let name =
            [Architecture::Amd64, Architecture::Arm64].into_iter().find(|one| one.machine() == machine);
        let is = name.map_or_else(|| format!("machine {machine}"), |name| name.name().to_owned());
        return Err(format!("it is for {is}, and {} is wanted", architecture.name()));
    }
    let segments = header.program_headers(endian, bytes).map_err(broken)?;
    if segments.iter().any(|segment| segment.p_type(endian) == elf::PT_INTERP) {
        return Err("it is linked dynamically, and the image has no libraries".into());
    }
    if !segments.iter().any(|segment| segment.p_type(endian) == elf::PT_LOAD) {
        return Err("it has nothing to run".into());
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The smallest program of 64 bits that passes: a header, and a segment of this type.
    pub(crate) fn elf(machine: u16, segment: u32) -> Vec<u8> {
        let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
        bytes.resize(16, 0);
        bytes.extend(2u16.to_le_bytes());
        bytes.extend(machine.to_le_bytes());
        bytes.extend(1u32.to_le_bytes());
        bytes.extend(0x40_0000u64.to_le_bytes());
        bytes.extend(64u64.to_le_bytes());
        bytes.extend(0u64.to_le_bytes());
        bytes.extend(0u32.to_le_bytes());
        for half in [64u16, 56, 1, 0, 0, 0] {
            bytes.extend(half.to_le_bytes());
        }
        bytes.extend(segment.to_le_bytes());
        bytes.resize(64 + 56, 0);
        bytes
    }

    #[test]
    fn what_cannot_run_is_refused_with_its_reason() {
        let why = |bytes: &[u8]| Program::new(bytes.to_vec(), Architecture::Amd64).map(|_| ()).unwrap_err();
        assert!(Program::new(elf(62, 1), Architecture::Amd64).is_ok());
        assert!(Program::new(elf(183, 1), Architecture::Arm64).is_ok());
        assert_eq!(why(&elf(183, 1)), "it is for arm64, and amd64 is wanted");
        assert_eq!(why(&elf(243, 1)), "it is for machine 243, and amd64 is wanted");
        assert_eq!(why(&elf(62, 3)), "it is linked dynamically, and the image has no libraries");
        assert_eq!(why(&elf(62, 4)), "it has nothing to run");
        assert_eq!(why(b"#!/bin/sh\nexec nats-server\n"), "it is a script, and nothing could run it");
        assert_eq!(why(b""), "it is no program for Linux");
        assert_eq!(why(b"\xcf\xfa\xed\xfe\x07\0\0\x01\x03\0\0\0\x02\0\0\0"), "it is a program for macOS");
        assert!(why(&elf(62, 1)[..80]).starts_with("it is damaged: "));
    }
}
