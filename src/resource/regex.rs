//! Whether a proxy will take a regular expression. Proxies use RE2; this checks with a linear-time engine of
//! nearly the same syntax, and refuses what the two read differently.
//!
//! Law: what passes here is accepted by RE2 with a program size limit of [`PROXY_PROGRAM_SIZE`].

use regex_automata::nfa::thompson::{self, WhichCaptures};
use regex_syntax::ast::{self, Ast};

use crate::limit::Limit;

/// The most states that the compiled expression may have here.
const MAX_STATES: usize = 2_000;

/// The program size that proxies must allow (`re2.max_program_size.error_level` in Envoy's runtime). RE2 counts
/// several instructions where we count one state: some fifteen for "any but this", which is UTF-8 there.
pub const PROXY_PROGRAM_SIZE: u32 = 40_000;

/// RE2 refuses more repetitions than this.
const MAX_REPEAT: u32 = 1_000;

/// `Err` says what is wrong with it.
pub fn check(pattern: &str) -> Result<(), String> {
    let syntax = |error: String| format!("is not a regular expression that RE2 accepts: {error}");
    let ast = ast::parse::ParserBuilder::new()
        .nest_limit(200)
        .build()
        .parse(pattern)
        .map_err(|error| syntax(error.kind().to_string()))?;
    ast::visit(&ast, OnlyRe2).map_err(|error| syntax(error.to_owned()))?;
    let hir = regex_syntax::hir::translate::TranslatorBuilder::new()
        .unicode(false)
        .utf8(false)
        .build()
        .translate(pattern, &ast)
        .map_err(|error| syntax(error.kind().to_string()))?;
    let config = thompson::Config::new()
        .utf8(false)
        .which_captures(WhichCaptures::None)
        // Bytes, so that a repetition of a repetition is stopped before it has used all memory.
        .nfa_size_limit(Some(MAX_STATES * 256));
    let too_large = || {
        Limit::RegexProgramSize.exceeded(1);
        format!("is too large: compiled it has more than {MAX_STATES} states; make it simpler")
    };
    let nfa = thompson::Compiler::new().configure(config).build_from_hir(&hir).map_err(|_| too_large())?;
    if nfa.states().len() > MAX_STATES { Err(too_large()) } else { Ok(()) }
}

/// Refuses what our engine takes and RE2 does not, or reads differently.
struct OnlyRe2;

impl ast::Visitor for OnlyRe2 {
    type Output = ();
    type Err = &'static str;

    fn finish(self) -> Result<(), Self::Err> {
        Ok(())
    }

    fn visit_pre(&mut self, node: &Ast) -> Result<(), Self::Err> {
        match node {
            Ast::Flags(set) => flags(&set.flags),
            Ast::Literal(literal) => escape(literal),
            Ast::Assertion(assertion) => match assertion.kind {
                ast::AssertionKind::WordBoundaryStart
                | ast::AssertionKind::WordBoundaryEnd
                | ast::AssertionKind::WordBoundaryStartAngle
                | ast::AssertionKind::WordBoundaryEndAngle
                | ast::AssertionKind::WordBoundaryStartHalf
                | ast::AssertionKind::WordBoundaryEndHalf => Err("word start and end assertions are unknown to it"),
                _ => Ok(()),
            },
            Ast::Group(group) => match &group.kind {
                ast::GroupKind::NonCapturing(set) => flags(set),
                _ => Ok(()),
            },
            Ast::Repetition(repetition) => match &repetition.op.kind {
                ast::RepetitionKind::Range(range) if most(range) > MAX_REPEAT => {
                    Err("it repeats something more than 1000 times")
                }
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn visit_class_set_item_pre(&mut self, item: &ast::ClassSetItem) -> Result<(), Self::Err> {
        match item {
            ast::ClassSetItem::Literal(literal) => escape(literal),
            ast::ClassSetItem::Range(range) => escape(&range.start).and_then(|()| escape(&range.end)),
            ast::ClassSetItem::Bracketed(_) => Err("a bracket inside of brackets must be escaped"),
            _ => Ok(()),
        }
    }

    fn visit_class_set_binary_op_pre(&mut self, _: &ast::ClassSetBinaryOp) -> Result<(), Self::Err> {
        Err("`&&`, `--` and `~~` inside of brackets must be escaped")
    }
}

fn most(range: &ast::RepetitionRange) -> u32 {
    match range {
        ast::RepetitionRange::Exactly(n) | ast::RepetitionRange::AtLeast(n) => *n,
        ast::RepetitionRange::Bounded(_, n) => *n,
    }
}

fn flags(flags: &ast::Flags) -> Result<(), &'static str> {
    let known = |item: &ast::FlagsItem| match &item.kind {
        ast::FlagsItemKind::Negation => true,
        ast::FlagsItemKind::Flag(flag) => matches!(
            flag,
            ast::Flag::CaseInsensitive | ast::Flag::MultiLine | ast::Flag::DotMatchesNewLine | ast::Flag::SwapGreed
        ),
    };
    if flags.items.iter().all(known) { Ok(()) } else { Err("only the flags i, m, s and U are known to it") }
}

fn escape(literal: &ast::Literal) -> Result<(), &'static str> {
    use ast::{HexLiteralKind, LiteralKind};
    match &literal.kind {
        LiteralKind::HexFixed(HexLiteralKind::UnicodeShort | HexLiteralKind::UnicodeLong)
        | LiteralKind::HexBrace(HexLiteralKind::UnicodeShort | HexLiteralKind::UnicodeLong) => {
            Err("write \\x{...} for a character by its number")
        }
        _ if matches!(literal.kind, LiteralKind::Superfluous) && literal.c == '_' => Err("`_` must not be escaped"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_that_proxies_accept_pass() {
        for pattern in [
            "/v[12]/.*",
            "^/a(/|$)",
            r"\d+-\w+\.html",
            "(?i)abc",
            "(?:a|b){2,500}",
            "[^/]+",
            "ä",
            "",
            "[^/]{1000}(?:[^/]{900})?",
        ] {
            assert_eq!(check(pattern), Ok(()), "{pattern}");
        }
    }

    #[test]
    fn what_re2_refuses_or_reads_differently_is_refused() {
        for pattern in [
            "(unclosed",
            "a**b(",
            "[a",
            r"(a)\1",
            "(?=a)",
            "(?x) a",
            "(?u)a",
            r"\u0041",
            "[a&&b]",
            "[[a]]",
            r"\<a",
            "a{1001}",
            "*a",
        ] {
            assert!(check(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn an_expression_that_explodes_is_refused_at_once() {
        for pattern in ["((a{100}){100}){100}", "(?:ab|cd){900}", "(x{900}){900}"] {
            assert!(check(pattern).is_err_and(|reason| reason.contains("too large")), "{pattern}");
        }
    }
}
