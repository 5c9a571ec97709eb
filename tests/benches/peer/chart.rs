//! The ratios as a picture.

use std::fmt::Write;

use crate::report::Row;

const ROW: usize = 22;
const LEFT: usize = 190;
/// Width of a ratio of one.
const ONE: f64 = 260.0;
/// No bar is longer.
const LONGEST: f64 = 2.5;

/// A bar for each row, a whisker for its rounds, a line where SPDK is.
pub(crate) fn draw(rows: &[Row]) -> String {
    let height = ROW * (rows.len() + 2);
    let width = LEFT + 700;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"14\">commands a second, as a multiple of SPDK's (line)</text>\n"
    );
    let x = |ratio: f64| LEFT as f64 + ratio.min(LONGEST) * ONE;
    for (index, row) in rows.iter().enumerate() {
        let [least, middle, most] = row.ratio;
        let top = ROW * (index + 1);
        let (text, centre) = (top + 15, top + 11);
        let colour = if middle >= 1.0 { "#2a7ab0" } else { "#c0704a" };
        let bar = x(middle) - x(0.0);
        // Writing to a String does not fail.
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{text}\" text-anchor=\"end\">{}</text>\
             <rect x=\"{LEFT}\" y=\"{}\" width=\"{bar:.0}\" height=\"14\" fill=\"{colour}\"/>\
             <path d=\"M{:.0} {centre}H{:.0}\" stroke=\"black\"/>\
             <text x=\"{:.0}\" y=\"{text}\">{middle:.2}</text>",
            LEFT - 8,
            row.case,
            top + 4,
            x(least),
            x(most),
            x(most.max(middle)) + 6.0,
        );
    }
    let _ = writeln!(
        svg,
        "<path d=\"M{:.0} {ROW}V{height}\" stroke=\"black\" stroke-dasharray=\"3 3\"/>\n</svg>",
        x(1.0)
    );
    svg
}
