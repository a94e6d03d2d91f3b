//! Cuts a policy file into its statements, so that each keeps its own id and line.
//!
//! Cedar would name them `policy0`, `policy1`, …, and a log of such names is of no use. The cut only looks for the `;`
//! that ends a statement; each piece is then parsed by Cedar as exactly one policy, so that a wrong cut is an error.

/// One policy's text, and the line on which it begins.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Statement<'a> {
    pub(super) line: usize,
    pub(super) text: &'a str,
}

/// The statements of a file. What follows the last `;` is a statement too, unless it is blank or comment.
pub(super) fn split(text: &str) -> Vec<Statement<'_>> {
    let mut statements = Vec::new();
    let mut rest = text;
    let mut line = 1;
    while !rest.is_empty() {
        let end = end_of_statement(rest);
        let (piece, next) = rest.split_at_checked(end).unwrap_or((rest, ""));
        let skipped = blank_prefix(piece);
        if let Some((blank, text)) = piece.split_at_checked(skipped)
            && !text.is_empty()
        {
            statements.push(Statement { line: line + newlines(blank), text });
        }
        line += newlines(piece);
        rest = next;
    }
    statements
}

fn newlines(text: &str) -> usize {
    text.bytes().filter(|byte| *byte == b'\n').count()
}

/// The position after the first `;` outside strings and comments, or the end.
fn end_of_statement(text: &str) -> usize {
    let mut bytes = text.bytes().enumerate().peekable();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b';' => return at + 1,
            b'"' => {
                while let Some((_, byte)) = bytes.next() {
                    match byte {
                        b'\\' => {
                            bytes.next();
                        }
                        b'"' => break,
                        _ => {}
                    }
                }
            }
            b'/' if bytes.peek().is_some_and(|(_, next)| *next == b'/') => {
                while bytes.next_if(|(_, byte)| *byte != b'\n').is_some() {}
            }
            _ => {}
        }
    }
    text.len()
}

/// How much of the beginning is white space and comments.
fn blank_prefix(text: &str) -> usize {
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        if !rest.starts_with("//") {
            return text.len() - rest.len();
        }
        rest = rest.split_once('\n').map_or("", |(_, after)| after);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_statement_knows_its_line() {
        let text = "// head; not a policy\n\n@id(\"a\")\npermit (principal, action, resource);\n// x\n  forbid \
                    (principal, action, resource)\nwhen { context.a == \"; // \\\" ;\" };\n// end ;\n";
        let found: Vec<usize> = split(text).iter().map(|statement| statement.line).collect();
        assert_eq!(found, [3, 6]);
        let texts: Vec<&str> = split(text).into_iter().map(|statement| statement.text).collect();
        assert!(texts[1].ends_with("};") && texts[1].starts_with("forbid"), "{texts:?}");
    }

    #[test]
    fn what_follows_the_last_semicolon_is_not_lost() {
        assert_eq!(split("permit (principal, action, resource)").len(), 1);
        assert_eq!(split(" // only a comment ;").len(), 0);
        assert_eq!(split("").len(), 0);
        assert_eq!(split("\"open string ; // ").len(), 1);
    }
}
