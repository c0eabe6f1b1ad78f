//! Makes scripts, styles and pages smaller without changing what they do.

use crate::Result;

pub fn minify_js(name: &str, source: &str) -> Result<String> {
    use oxc_codegen::{Codegen, CodegenOptions};
    use oxc_minifier::{Minifier, MinifierOptions};

    let allocator = oxc_allocator::Allocator::default();
    // These are classic scripts, everything else is a module.
    let kind = if matches!(name, "loader.js" | "start.js") {
        oxc_span::SourceType::cjs()
    } else {
        oxc_span::SourceType::mjs()
    };
    let parsed = oxc_parser::Parser::new(&allocator, source, kind).parse();
    if let Some(error) = parsed.diagnostics.first() {
        return Err(format!("{name}: {error}"));
    }
    let mut program = parsed.program;
    let minified = Minifier::new(MinifierOptions::default()).minify(&allocator, &mut program);
    Ok(Codegen::new().with_options(CodegenOptions::minify()).with_scoping(minified.scoping).build(&program).code)
}

pub fn minify_css(name: &str, source: &str) -> Result<String> {
    use lightningcss::stylesheet::{MinifyOptions, ParserOptions, PrinterOptions, StyleSheet};

    let mut sheet = StyleSheet::parse(source, ParserOptions::default()).map_err(|e| format!("{name}: {e}"))?;
    sheet.minify(MinifyOptions::default()).map_err(|e| format!("{name}: {e}"))?;
    let printer = PrinterOptions { minify: true, ..PrinterOptions::default() };
    Ok(sheet.to_css(printer).map_err(|e| format!("{name}: {e}"))?.code)
}

/// Drops indentation and comments; HTML this small gains nothing from more.
pub fn minify_html(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some((before, after)) = rest.split_once("<!--") {
        out.push_str(before);
        rest = after.split_once("-->").map_or("", |(_, rest)| rest);
    }
    out.push_str(rest);
    let lines = out.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join("\n")
}
