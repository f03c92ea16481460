use super::Figure;

/// A line for each figure, and one for its note.
pub fn table(figures: &[Figure]) -> String {
    let mut rows = vec![["figure", "value", "", "bar", ""].map(str::to_owned)];
    rows.extend(figures.iter().map(row));
    let widths: Vec<usize> = (0..5)
        .map(|column| {
            let lengths = rows.iter().map(|row| row[column].chars().count());
            lengths.max().unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for (at, row) in rows.iter().enumerate() {
        let line = format!(
            "{:<a$}  {:>b$} {:<c$}  {:<d$}  {}",
            row[0],
            row[1],
            row[2],
            row[3],
            row[4],
            a = widths[0],
            b = widths[1],
            c = widths[2],
            d = widths[3],
        );
        text.push_str(line.trim_end());
        text.push('\n');
        if let Some(figure) = at.checked_sub(1).map(|at| &figures[at])
            && !figure.note.is_empty()
        {
            text.push_str(&format!("    {}\n", figure.note));
        }
    }
    text
}

fn row(figure: &Figure) -> [String; 5] {
    let verdict = match (figure.bar, figure.ok) {
        (Some(_), true) => "met",
        (Some(_), false) => "MISSED",
        (None, true) => "",
        (None, false) => "not measured",
    };
    [
        figure.name.to_owned(),
        figure.value.map_or_else(|| "–".to_owned(), number),
        figure.unit.to_owned(),
        figure.bar.map(|bar| bar.to_string()).unwrap_or_default(),
        verdict.to_owned(),
    ]
}

/// About three digits.
pub fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 || size == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::example;
    use super::number;

    #[test]
    fn every_figure_has_its_line() {
        let table = example().table();
        let line = |name: &str| {
            let line = table.lines().find(|line| line.starts_with(name));
            let words = line.unwrap().split_whitespace();
            words.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(line("met"), ["met", "3.00", "×", ">=", "2.5", "met"]);
        assert_eq!(
            line("missed"),
            ["missed", "0.800", "×", "<=", "0.4", "MISSED"]
        );
        assert_eq!(line("told"), ["told", "0.500", "s/GiB"]);
        assert_eq!(line("absent"), ["absent", "–", "×", "not", "measured"]);
        assert!(table.contains("    there is none\n"));
    }

    #[test]
    fn three_digits() {
        let texts = [1234.5, 12.34, 1.234, 0.1234, 0.0].map(number);
        assert_eq!(texts, ["1234", "12.3", "1.23", "0.123", "0.00"]);
    }
}
