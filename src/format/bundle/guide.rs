//! `VERIFY.md` of a bundle: how to check it with programs that every system has.

use crate::base::escape::Escaped;

/// The guide, for a log of this name. `odd` says that some file has a name that the manifests have to
/// encode, which `sha256sum` does not undo.
pub fn print(origin: &str, odd: bool) -> String {
    let odd = match odd {
        true => {
            "\nSome files here have a percent sign or a line break in their names. BagIt writes these as %25, %0D\n\
             and %0A, which `sha256sum` does not read back: those lines it reports as missing.\n\
             `strongroom check-evidence` reads them; bagit.py 1.9 does not undo %25.\n"
        }
        false => "",
    };
    TEXT.replace("@ODD@", odd).replace("@ORIGIN@", &Escaped(origin).to_string())
}

const TEXT: &str = include_str!("verify.md");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guide_has_no_mark_left_and_warns_of_odd_names_only_where_there_are_some() {
        let plain = print("example.org/log", false);
        assert!(!plain.contains('@') && plain.contains("example.org/log") && !plain.contains("%25"));
        assert!(print("o", true).contains("%25"));
    }
}
