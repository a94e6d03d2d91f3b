//! What `execve` put at the end of a process's stack, when it still lies there as it was put.
//!
//! From below upwards (fs/exec.c, `create_elf_tables` in fs/binfmt_elf.c): the argument count, the
//! pointers to the arguments, those to the environment, the auxiliary vector, some bytes; then the
//! argument strings, the environment strings, the path that was handed to `execve`, and eight zero
//! bytes up to the end of a page. Only the addresses are the kernel's: the bytes are the process's
//! own memory.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;

use super::refusal::Refusal;
use crate::proc::{Auxv, MemoryLayout, parse_auxv, parse_cmdline, parse_stat};

const MAX_STAT: u64 = 4096;
const MAX_AUXV: u64 = 4096;
const MAX_ARGUMENTS: u64 = 64 * 1024;
const MAX_ENVIRONMENT: u64 = 256 * 1024;
/// Two of the largest pages that Linux has.
const MAX_PATH_AREA: usize = 2 * 64 * 1024;
/// What follows the path: its zero byte, and those at the end of the stack.
const END_OF_STACK: [u8; 9] = [0; 9];

/// The strings of one execution.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Image {
    /// As in `/proc/PID/cmdline`.
    pub(super) arguments: Vec<u8>,
    /// As in `/proc/PID/environ`.
    pub(super) environment: Vec<u8>,
    /// What was handed to `execve`, without its zero byte.
    pub(super) path: Vec<u8>,
}

/// Reads the strings, which must lie where they lay when the process was pinned.
pub(super) fn read(pid: i32, pinned: Option<MemoryLayout>) -> Result<Image, Refusal> {
    let layout = layout(pid)?;
    if layout != pinned.ok_or(Refusal::Hidden)? {
        return Err(Refusal::Moved);
    }
    let auxv = parse_auxv(&read_file(pid, "auxv", MAX_AUXV)?).ok_or(Refusal::Malformed)?;
    if auxv.secure {
        return Err(Refusal::Privileged);
    }
    let MemoryLayout { arg_start, arg_end, env_start, env_end, .. } = layout;
    let is_whole = arg_start < arg_end
        && arg_end == env_start
        && env_start <= env_end
        && env_end == auxv.path_start
        && layout.start_stack < arg_start;
    if !is_whole {
        return Err(Refusal::Layout);
    }
    let memory = File::open(format!("/proc/{pid}/mem"))?;
    let image = Image {
        arguments: read_area(pid, "cmdline", arg_end - arg_start, MAX_ARGUMENTS)?,
        environment: read_area(pid, "environ", env_end - env_start, MAX_ENVIRONMENT)?,
        path: path(&memory, &auxv)?,
    };
    check_pointers(&memory, &layout, &image.arguments)?;
    Ok(image)
}

/// At most `limit` bytes of a file below `/proc/PID`; a longer one is malformed.
pub(super) fn read_file(pid: i32, file: &str, limit: u64) -> Result<Vec<u8>, Refusal> {
    let mut bytes = Vec::new();
    File::open(format!("/proc/{pid}/{file}"))?.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(Refusal::Malformed);
    }
    Ok(bytes)
}

fn layout(pid: i32) -> Result<MemoryLayout, Refusal> {
    let stat = parse_stat(&read_file(pid, "stat", MAX_STAT)?).ok_or(Refusal::Malformed)?;
    stat.layout.ok_or(Refusal::Hidden)
}

/// A file that shows an area of memory; the kernel shows more or less of it when the process wrote
/// over its end.
fn read_area(pid: i32, file: &str, size: u64, limit: u64) -> Result<Vec<u8>, Refusal> {
    if size > limit {
        return Err(Refusal::Malformed);
    }
    let bytes = read_file(pid, file, limit)?;
    if bytes.len() as u64 != size {
        return Err(Refusal::Layout);
    }
    Ok(bytes)
}

/// The path, its zero byte and the end of the stack, which lead up to the end of a page.
fn path(memory: &File, auxv: &Auxv) -> Result<Vec<u8>, Refusal> {
    let Auxv { path_start, page_size, .. } = *auxv;
    let to_page_end = page_size - path_start % page_size;
    for size in [to_page_end, to_page_end + page_size] {
        let size = usize::try_from(size).ok().filter(|size| *size <= MAX_PATH_AREA);
        let mut bytes = vec![0; size.ok_or(Refusal::Layout)?];
        // There is nothing behind the stack: what does not end there was written over.
        memory.read_exact_at(&mut bytes, path_start).map_err(|_no_such_page| Refusal::Layout)?;
        let path = bytes.strip_suffix(&END_OF_STACK).filter(|path| !path.contains(&0));
        if let Some(path) = path.filter(|path| !path.is_empty()) {
            return Ok(path.to_vec());
        }
    }
    Err(Refusal::Layout)
}

/// The argument count and the pointers must part the argument area as its zero bytes do.
fn check_pointers(memory: &File, layout: &MemoryLayout, strings: &[u8]) -> Result<(), Refusal> {
    let arguments = parse_cmdline(strings).ok_or(Refusal::Layout)?;
    let mut address = layout.arg_start;
    let mut expected = vec![arguments.len() as u64];
    for argument in &arguments {
        expected.push(address);
        address += argument.len() as u64 + 1;
    }
    expected.push(0);
    let mut bytes = vec![0; expected.len() * 8];
    memory.read_exact_at(&mut bytes, layout.start_stack)?;
    let (words, _rest) = bytes.as_chunks::<8>();
    if !words.iter().map(|word| u64::from_ne_bytes(*word)).eq(expected) {
        return Err(Refusal::Layout);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own_layout() -> MemoryLayout {
        layout(std::process::id().cast_signed()).unwrap()
    }

    #[test]
    fn this_process_lies_as_execve_laid_it_out() {
        let image = read(std::process::id().cast_signed(), Some(own_layout())).unwrap();
        let arguments: Vec<_> = std::env::args_os().map(|arg| arg.into_encoded_bytes()).collect();
        assert_eq!(parse_cmdline(&image.arguments).unwrap(), arguments);
        assert!(!image.path.is_empty());
    }

    #[test]
    fn another_layout_than_the_pinned_one_is_refused() {
        let pid = std::process::id().cast_signed();
        assert_eq!(read(pid, None), Err(Refusal::Hidden));
        for change in [
            |layout: &mut MemoryLayout| layout.start_code += 4096,
            |layout: &mut MemoryLayout| layout.start_stack += 16,
            |layout: &mut MemoryLayout| layout.arg_start += 1,
            |layout: &mut MemoryLayout| layout.env_end += 1,
        ] {
            let mut pinned = own_layout();
            change(&mut pinned);
            assert_eq!(read(pid, Some(pinned)), Err(Refusal::Moved));
        }
    }

    #[test]
    fn a_path_ends_nine_zero_bytes_before_a_page() {
        let page: u64 = 64;
        let read = |memory: &[u8], start: u64| {
            let file = tempfile::tempfile().unwrap();
            file.write_all_at(memory, 0).unwrap();
            path(&file, &auxv(start, page))
        };
        let stack = |start: usize, path: &str, zeros: usize| {
            let mut memory = vec![b'x'; start];
            memory.extend_from_slice(path.as_bytes());
            memory.extend(std::iter::repeat_n(0, zeros));
            memory
        };
        assert_eq!(read(&stack(50, "/a/bc", 9), 50).unwrap(), b"/a/bc");
        // Across the end of a page, with its string and with its zeros.
        assert_eq!(read(&stack(62, &"p".repeat(57), 9), 62).unwrap(), [b'p'; 57]);
        assert_eq!(read(&stack(59, &"p".repeat(60), 9), 59).unwrap(), [b'p'; 60]);
        for (memory, start) in [
            (stack(49, "/a/bc", 10), 49),
            (stack(51, "/a/bc", 8), 51),
            (stack(50, "/a/b", 10), 50),
            (stack(50, "/a/\0c", 9), 50),
            (stack(55, "", 9), 55),
            (vec![b'x'; 256], 50),
        ] {
            assert_eq!(read(&memory, start), Err(Refusal::Layout), "{start}");
        }
    }

    fn auxv(path_start: u64, page_size: u64) -> Auxv {
        let words = [6, page_size, 23, 0, 31, path_start, 0, 0];
        parse_auxv(&words.iter().flat_map(|word| word.to_ne_bytes()).collect::<Vec<_>>()).unwrap()
    }
}
