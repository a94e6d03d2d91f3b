/// What is looked at of `/proc/PID/auxv` (proc_pid_auxv(5), getauxval(3)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Auxv {
    /// `AT_EXECFN`: where the path that was handed to `execve` lies.
    pub path_start: u64,
    /// `AT_PAGESZ`.
    pub page_size: u64,
    /// `AT_SECURE`: the program gained rights by being executed.
    pub secure: bool,
}

const AT_NULL: u64 = 0;
const AT_PAGESZ: u64 = 6;
const AT_SECURE: u64 = 23;
const AT_EXECFN: u64 = 31;

/// Reads `/proc/PID/auxv` of a process of this machine's word size: pairs of words up to a pair of
/// zeros. Each of the three must be there once.
pub fn parse_auxv(bytes: &[u8]) -> Option<Auxv> {
    let (words, _rest) = bytes.as_chunks::<8>();
    let (pairs, _odd) = words.as_chunks::<2>();
    let mut pairs = pairs.iter().map(|pair| pair.map(u64::from_ne_bytes));
    let (mut path_start, mut page_size, mut secure) = (None, None, None);
    loop {
        let [kind, value] = pairs.next()?;
        let slot = match kind {
            AT_NULL => break,
            AT_PAGESZ => &mut page_size,
            AT_SECURE => &mut secure,
            AT_EXECFN => &mut path_start,
            _ => continue,
        };
        if slot.replace(value).is_some() {
            return None;
        }
    }
    let page_size = page_size.filter(|size: &u64| size.is_power_of_two())?;
    Some(Auxv { path_start: path_start?, page_size, secure: secure? != 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auxv(words: &[u64]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }

    #[test]
    fn the_three_words_are_found_among_others() {
        let bytes = auxv(&[33, 1, 6, 4096, 23, 0, 31, 77, 25, 5, 0, 0, 6, 1, 0, 0]);
        let expected = Auxv { path_start: 77, page_size: 4096, secure: false };
        assert_eq!(parse_auxv(&bytes), Some(expected));
        let bytes = auxv(&[31, 77, 23, 1, 6, 4096, 0, 0]);
        assert_eq!(parse_auxv(&bytes), Some(Auxv { secure: true, ..expected }));
    }

    #[test]
    fn a_vector_that_lacks_repeats_or_does_not_end_is_refused() {
        for words in [
            &[][..],
            &[0, 0],
            &[6, 4096, 23, 0, 31, 77],
            &[6, 4096, 23, 0, 0, 0],
            &[6, 4095, 23, 0, 31, 77, 0, 0],
            &[6, 4096, 23, 0, 31, 77, 31, 78, 0, 0],
            &[6, 4096, 31, 77, 0, 0],
        ] {
            assert_eq!(parse_auxv(&auxv(words)), None, "{words:?}");
        }
        assert_eq!(parse_auxv(b"abc"), None);
    }

    #[test]
    fn this_process_has_one() {
        let own = parse_auxv(&std::fs::read("/proc/self/auxv").unwrap()).unwrap();
        assert!(own.page_size >= 4096 && own.path_start > 4096 && !own.secure);
    }
}
