//! A table in the forms that others take: Markdown for a page, CSV for a spreadsheet.

use std::fmt::Write as _;

use windlass_cost::prices::Origin;

use crate::context::Format;

/// Rows under headings.
pub struct Sheet {
    headings: Vec<&'static str>,
    rows: Vec<Vec<String>>,
    /// How many columns at the end are numbers.
    numbers: usize,
}

impl Sheet {
    /// An empty table, of which the last columns are numbers.
    pub fn new(headings: &[&'static str], numbers: usize) -> Self {
        Self { headings: headings.to_vec(), rows: Vec::new(), numbers }
    }

    /// One more row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// One more row of fewer cells: what is said of the table.
    pub fn say(&mut self, cells: impl IntoIterator<Item = String>) {
        let mut row: Vec<String> = cells.into_iter().collect();
        row.resize(self.headings.len(), String::new());
        self.rows.push(row);
    }

    /// As text of a format; what is no table is Markdown.
    pub fn print(&self, format: Format) -> String {
        let mut out = String::new();
        // Writing to a string cannot fail.
        let _ = if format == Format::Csv { self.csv(&mut out) } else { self.markdown(&mut out) };
        out
    }

    fn markdown(&self, out: &mut String) -> std::fmt::Result {
        let cell = |text: &str| text.replace('|', "\\|").replace('\n', " ");
        let line = |cells: Vec<String>| format!("| {} |", cells.join(" | "));
        let text = self.headings.len() - self.numbers;
        let rule = |at: usize| if at < text { "---" } else { "---:" }.to_owned();
        writeln!(out, "{}", line(self.headings.iter().map(|heading| cell(heading)).collect()))?;
        writeln!(out, "{}", line((0..self.headings.len()).map(rule).collect()))?;
        for row in &self.rows {
            writeln!(out, "{}", line(row.iter().map(|text| cell(text)).collect()))?;
        }
        Ok(())
    }

    fn csv(&self, out: &mut String) -> std::fmt::Result {
        let cell = |text: &str| {
            let quoted = text.contains([',', '"', '\n', '\r']);
            if quoted { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
        };
        let line = |cells: Vec<String>| cells.join(",");
        write!(out, "{}\r\n", line(self.headings.iter().map(|heading| cell(heading)).collect()))?;
        for row in &self.rows {
            write!(out, "{}\r\n", line(row.iter().map(|text| cell(text)).collect()))?;
        }
        Ok(())
    }
}

/// When a price was read and whether it is confirmed, for two cells.
pub fn read(origin: &Origin) -> [String; 2] {
    [origin.day(), if origin.confirmed { "yes" } else { "no" }.to_owned()]
}

/// Rows of equal columns, of which those from `right` on are set to the right; two spaces apart.
pub fn columns(rows: &[Vec<String>], right: usize) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..count).map(width).collect();
    let mut out = String::new();
    for row in rows {
        let mut line = String::from("  ");
        for (column, cell) in row.iter().enumerate() {
            let pad = " ".repeat(widths[column] - cell.chars().count());
            let gap = if column == 0 { "" } else { "  " };
            let set = if column >= right { format!("{pad}{cell}") } else { format!("{cell}{pad}") };
            line.push_str(gap);
            line.push_str(&set);
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_cannot_break_out() {
        let mut sheet = Sheet::new(&["what", "USD"], 1);
        sheet.row(["a, \"b\" | c".to_owned(), "1.00".to_owned()]);
        assert_eq!(sheet.print(Format::Csv), "what,USD\r\n\"a, \"\"b\"\" | c\",1.00\r\n");
        assert_eq!(
            sheet.print(Format::Markdown),
            "| what | USD |\n| --- | ---: |\n| a, \"b\" \\| c | 1.00 |\n"
        );
    }

    #[test]
    fn numbers_stand_below_each_other() {
        let rows = [["a", "1.00"], ["bb", "10.00"]].map(|row| row.map(String::from).to_vec());
        assert_eq!(columns(&rows, 1), "  a    1.00\n  bb  10.00\n");
    }
}
