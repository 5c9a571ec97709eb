//! A namespace: its number, its storage, and what only one mode can do.

#![forbid(unsafe_code)]

use std::path::Path;

use toml::Spanned;

use super::super::model::{Access, Disk, Ids, KernelLun, Medium, Mode};
use super::super::problem::Span;
use super::super::raw;
use super::Resolver;
use super::conflict::Use;
use super::subsystem::{KEEPABLE_HINT, is_keepable};

/// A namespace as its mode has it.
pub(super) enum Namespace {
    Kernel(KernelLun),
    User(Disk),
}

impl Resolver<'_> {
    /// A namespace of the file's `subsystem`th subsystem, with its number.
    pub(super) fn namespace(
        &mut self,
        subsystem: usize,
        table: &Spanned<raw::Namespace>,
        mode: Option<Mode>,
    ) -> Option<(u32, Namespace)> {
        let namespace = table.get_ref();
        self.required(&namespace.nsid, &table.span(), NAMESPACE, "nsid = 1");
        self.one_storage(table);
        self.not_of_existing_luns(namespace);
        match mode {
            Some(Mode::Kernel) => self.only_in_kernel_mode(namespace),
            Some(Mode::User) => self.not_in_user_mode(namespace),
            None => {}
        }
        let access = match namespace.read_only.or(false) {
            true => Access::ReadOnly,
            false => Access::ReadWrite,
        };
        if let Some(path) = namespace.path.spanned() {
            let its = Use {
                subsystem,
                access,
                span: path.span(),
            };
            self.conflicts.medium(&path.get_ref().0, its, self.findings);
        }
        if let Some(lun) = namespace.lun.spanned() {
            self.conflicts
                .lun(subsystem, lun.get_ref().0, lun.span(), self.findings);
        }
        let ids = self.ids(namespace);
        let nsid = namespace.nsid.given()?.0;
        let disk = |medium| Disk {
            medium,
            access,
            ids,
        };
        let block_size = namespace.block_size.given().map(|size| size.0);
        let lun = namespace.lun.given().map(|lun| lun.0);
        let resolved = match (mode?, medium(namespace), lun) {
            (Mode::Kernel, Some(medium), _) => Namespace::Kernel(KernelLun::Ours {
                disk: disk(medium),
                block_size,
            }),
            (Mode::Kernel, None, Some(lun)) => Namespace::Kernel(KernelLun::Existing(lun)),
            (Mode::User, Some(medium), _) => Namespace::User(disk(medium)),
            (_, None, _) => return None,
        };
        Some((nsid, resolved))
    }

    fn one_storage(&mut self, table: &Spanned<raw::Namespace>) {
        let namespace = table.get_ref();
        let mut storage: Vec<(usize, Span, &str)> = [
            ("path", namespace.path.span()),
            ("ram", namespace.ram.span()),
            ("lun", namespace.lun.span()),
        ]
        .into_iter()
        .filter_map(|(key, span)| span.map(|span| (span.start, span, key)))
        .collect();
        storage.sort_by_key(|(start, ..)| *start);
        let hint = "give each namespace one of path, ram and lun";
        match &storage[..] {
            [] => {
                let what = "the namespace has no storage";
                self.findings.missing(table.span(), what, hint);
            }
            [_] => {}
            [(_, _, first), others @ ..] => {
                for (_, span, key) in others {
                    let what =
                        format!("the namespace has {first} already, and cannot be {key} too");
                    self.findings.error(span.clone(), what, hint);
                }
            }
        }
    }

    /// A LUN that is there already is whoever's it is, and as they made it.
    fn not_of_existing_luns(&mut self, namespace: &raw::Namespace) {
        if namespace.lun.is_absent() {
            return;
        }
        let read_only = namespace.read_only.spanned();
        let keys = [
            ("uuid", namespace.uuid.span()),
            ("nguid", namespace.nguid.span()),
            ("eui64", namespace.eui64.span()),
            ("block-size", namespace.block_size.span()),
            (
                "read-only",
                read_only.filter(|it| *it.get_ref()).map(Spanned::span),
            ),
        ];
        for (key, span) in keys {
            if span.is_some() {
                let what = format!("{key} cannot be chosen for a LUN that is there already");
                let hint = "leave it out; whoever makes the LUN chooses, as in ctl.conf(5)";
                self.findings.error(span, what, hint);
            }
        }
    }

    fn not_in_user_mode(&mut self, namespace: &raw::Namespace) {
        if let Some(span) = namespace.lun.span() {
            let what = "LUNs of CTL's are served in kernel mode alone";
            let hint = "mode = \"kernel\", or path = \"...\" of what is behind the LUN";
            self.findings.error(span, what, hint);
        }
        if let Some(span) = namespace.block_size.span() {
            let what = "block-size works in kernel mode alone";
            let hint =
                "leave it out: RAM disks and files have blocks of 512 bytes, disks their own";
            self.findings.error(span, what, hint);
        }
    }

    fn only_in_kernel_mode(&mut self, namespace: &raw::Namespace) {
        if let Some(path) = namespace.path.spanned()
            && let Err((what, hint)) = kernel_path(&path.get_ref().0)
        {
            self.findings.error(path.span(), what, hint);
        }
        if let (Some(_), Some(span)) = (namespace.nguid.span(), namespace.eui64.span()) {
            let what = "the kernel keeps one of nguid and eui64";
            self.findings.error(span, what, "leave one of them out");
        }
        if let Some(ram) = namespace.ram.spanned() {
            let block = namespace.block_size.given().map_or(512, |size| size.0);
            let (bytes, block) = (ram.get_ref().0.bytes(), u64::from(block));
            // The kernel lists a LUN of one block as if it had none.
            if bytes < 2 * block || !bytes.is_multiple_of(block) {
                let what = format!("{bytes} bytes are not two or more blocks of {block}");
                let hint = format!("use a multiple of {block}, at least \"{}\"", 2 * block);
                self.findings.error(ram.span(), what, hint);
            }
        }
    }

    fn ids(&mut self, namespace: &raw::Namespace) -> Ids {
        if let Some(uuid) = namespace.uuid.spanned() {
            let bytes = uuid.get_ref().0.into_bytes();
            self.conflicts.id(&bytes, uuid.span(), self.findings);
        }
        if let Some(nguid) = namespace.nguid.spanned() {
            let bytes = nguid.get_ref().0;
            self.conflicts.id(&bytes, nguid.span(), self.findings);
        }
        if let Some(eui64) = namespace.eui64.spanned() {
            let bytes = eui64.get_ref().0;
            self.conflicts.id(&bytes, eui64.span(), self.findings);
        }
        Ids {
            uuid: namespace.uuid.given().map(|uuid| uuid.0),
            nguid: namespace.nguid.given().map(|nguid| nguid.0),
            eui64: namespace.eui64.given().map(|eui64| eui64.0),
        }
    }
}

fn medium(namespace: &raw::Namespace) -> Option<Medium> {
    let path = namespace.path.given();
    let ram = namespace.ram.given();
    path.map(|path| Medium::Path(path.0.clone()))
        .or(ram.map(|ram| Medium::Ram(ram.0)))
}

/// Whether the kernel can be asked for this path, and list it.
fn kernel_path(path: &Path) -> Result<(), (&'static str, &'static str)> {
    // It is made of the file's text.
    let text = path.to_str().unwrap_or_default();
    if !is_keepable(text) {
        Err(("the kernel's lists cannot hold this path", KEEPABLE_HINT))
    } else if text.len() >= PATH_MAX {
        Err((
            "the path is longer than the kernel's 1023 bytes",
            "use a link to it",
        ))
    } else {
        Ok(())
    }
}

const NAMESPACE: &str = "[[subsystem.namespace]]";

/// The kernel's longest path, its NUL included.
const PATH_MAX: usize = 1024;
