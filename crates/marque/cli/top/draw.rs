//! Drawing a picture into a terminal, or into a text.

use ratatui::Frame;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Block, Borders, Cell, Paragraph, Row, Table};

use super::super::output::visible;
use super::view::{DenialRow, DomainRow, View};

/// How wide and how high a picture is that is printed as text.
const TEXT_WIDTH: u16 = 120;
const TEXT_DENIALS: u16 = 12;

const COLUMNS: [&str; 9] = [
    "TRUST DOMAIN",
    "READY",
    "KILL EPOCH",
    "GRANTS OPEN",
    "WAITING",
    "TOKENS/S",
    "TOKENS",
    "LOG",
    "UNSIGNED",
];

/// Draws one picture.
pub(super) fn draw(frame: &mut Frame<'_>, view: &View) {
    let rows = u16::try_from(view.trust_domains.len()).unwrap_or(u16::MAX);
    let [head, domains, denials, foot] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Length(rows.saturating_add(3)),
        Constraint::Min(3),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(Paragraph::new(summary(view)), head);
    frame.render_widget(domain_table(view), domains);
    frame.render_widget(denial_table(&view.denials), denials);
    let state = if view.paused { "PAUSED · " } else { "" };
    let keys = format!("{state}q quit · p pause · sort by n name, t tokens, o open, w waiting");
    frame.render_widget(Paragraph::new(keys).style(Style::new().add_modifier(Modifier::DIM)), foot);
}

/// The same as text, every line without what is blank at its end.
pub(super) fn as_text(view: &View) -> String {
    let rows = u16::try_from(view.trust_domains.len() + view.denials.len()).unwrap_or(100);
    let height = rows.min(100) + TEXT_DENIALS;
    let Ok(mut terminal) = Terminal::new(TestBackend::new(TEXT_WIDTH, height));
    let Ok(drawn) = terminal.draw(|frame| draw(frame, view));
    let text = text_of(drawn.buffer);
    // The keys are of no use in a text.
    let lines: Vec<&str> = text.lines().filter(|line| !line.contains("q quit ·")).collect();
    lines.join("\n").trim_end().to_owned()
}

fn text_of(buffer: &Buffer) -> String {
    let width = usize::from(buffer.area.width).max(1);
    let lines = buffer.content.chunks(width).map(|cells| {
        let line: String = cells.iter().map(ratatui::buffer::Cell::symbol).collect();
        line.trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn summary(view: &View) -> Vec<Line<'static>> {
    let sinks: Vec<String> =
        view.sinks.iter().map(|(sink, lag)| format!("{} {lag}", visible(sink))).collect();
    let sinks = if sinks.is_empty() { "no sinks".to_owned() } else { sinks.join(", ") };
    vec![
        Line::from(format!(
            "streams and calls {} · connections {} · unreadable rows {} · sinks behind: {sinks}",
            view.calls_open, view.connections_open, view.unreadable_rows
        )),
        Line::from(format!("telemetry dropped {}", view.telemetry_dropped)),
    ]
}

fn domain_table(view: &View) -> Table<'static> {
    let widths = [
        Constraint::Min(20),
        Constraint::Length(18),
        Constraint::Length(10),
        Constraint::Length(11),
        Constraint::Length(8),
        Constraint::Length(9),
        Constraint::Length(9),
        Constraint::Length(9),
        Constraint::Length(9),
    ];
    let head = Row::new(COLUMNS).style(Style::new().add_modifier(Modifier::BOLD));
    Table::new(view.trust_domains.iter().map(domain), widths)
        .header(head)
        .block(Block::new().borders(Borders::TOP).title(" trust domains "))
}

fn domain(row: &DomainRow) -> Row<'static> {
    let (ready, colour) = if row.ready {
        ("yes".to_owned(), Color::Green)
    } else {
        (row.not_ready.iter().map(|code| visible(code)).collect::<Vec<_>>().join(" "), Color::Red)
    };
    let rate = row.tokens_per_second.map_or_else(|| "-".to_owned(), |rate| format!("{rate:.1}"));
    Row::new([
        Cell::new(visible(&row.name)),
        Cell::new(ready).style(Style::new().fg(colour)),
        Cell::new(row.kill_epoch.to_string()),
        Cell::new(row.grants_open.to_string()),
        Cell::new(row.approvals_waiting.to_string()),
        Cell::new(rate),
        Cell::new(row.tokens_issued.to_string()),
        Cell::new(row.log_leaves.to_string()),
        Cell::new(row.unsigned_leaves.to_string()),
    ])
}

fn denial_table(denials: &[DenialRow]) -> Table<'static> {
    let rows = denials.iter().map(|row| {
        let new = if row.new == 0 { String::new() } else { format!("+{}", row.new) };
        Row::new([visible(&row.code), row.total.to_string(), new])
    });
    let widths = [Constraint::Length(34), Constraint::Length(10), Constraint::Length(8)];
    Table::new(rows, widths)
        .header(
            Row::new(["REFUSED", "TOTAL", "NEW"]).style(Style::new().add_modifier(Modifier::BOLD)),
        )
        .block(Block::new().borders(Borders::TOP).title(" refusals by code "))
}

#[cfg(test)]
mod tests {
    use super::super::view::Sort;
    use super::super::view::tests::readings;
    use super::*;

    #[test]
    fn a_picture_shows_every_trust_domain_and_what_is_wrong() {
        let (before, now) = readings();
        let view = View { paused: true, ..View::of(&now, Some(&before), Sort::Name) };
        let mut terminal = Terminal::new(TestBackend::new(TEXT_WIDTH, 16)).unwrap();
        let drawn = text_of(terminal.draw(|frame| draw(frame, &view)).unwrap().buffer);
        let line = |name: &str| drawn.lines().find(|line| line.contains(name)).unwrap().to_owned();
        assert!(line("a.example.org").contains("yes") && line("a.example.org").contains("2.0"));
        assert!(line("b.example.org").contains("store_unwritable"), "{drawn}");
        let words: Vec<String> =
            line("rate_limited").split_whitespace().map(str::to_owned).collect();
        assert_eq!(words, ["rate_limited", "4", "+2"]);
        assert!(drawn.contains("PAUSED · q quit") && drawn.contains("siem 9"), "{drawn}");
        assert!(!as_text(&view).contains("q quit"));
    }

    #[test]
    fn a_picture_that_does_not_fit_is_cut_and_nothing_else() {
        let (before, now) = readings();
        let view = View::of(&now, Some(&before), Sort::Name);
        for (width, height) in [(1, 1), (10, 3), (80, 5)] {
            let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
            terminal.draw(|frame| draw(frame, &view)).unwrap();
        }
    }
}
