//! Puts every change that `scripts/mutants.py` knows into source files, each behind a switch, so that one build
//! serves them all: `a < b` becomes `if crate::mutant(7) { a <= b } else { a < b }`.
//!
//! Usage: `strongroom-mutate FOLDER SKIP FILE…`. The files, relative to the folder, are rewritten there. SKIP is a list of
//! numbers with commas between: changes that get no switch, since they would not compile with one. Prints a JSON document
//! for each change: its number, where it is, its line before and after, whether it has a switch, and the edits of the text
//! for those that have none.

use std::collections::BTreeSet;
use std::ops::Range;
use std::{env, fs, path::Path};

use proc_macro2::Span;
use quote::ToTokens;
use syn::spanned::Spanned;
use syn::visit_mut::{self, VisitMut};
use syn::{Attribute, BinOp, Expr, Lit, Pat, RangeLimits, Stmt, parse_quote};

/// An edit of the text: bytes, and what takes their place.
type Edit = (Range<usize>, String);

struct Mutator<'s> {
    file: &'s str,
    text: &'s str,
    skip: &'s BTreeSet<usize>,
    /// The number of the last change.
    last: usize,
    /// How many constant places we are in, which cannot ask anything at run time.
    constant: usize,
}

impl Mutator<'_> {
    /// Notes a change. Gives its number if it can have a switch.
    fn change(&mut self, edits: Vec<Edit>, switch: bool) -> Option<usize> {
        self.last += 1;
        let switch = switch && self.constant == 0 && !self.skip.contains(&self.last);
        let start = edits.iter().map(|edit| edit.0.start).min().unwrap_or_default();
        let end = edits.iter().map(|edit| edit.0.end).max().unwrap_or_default();
        let from = self.text[..start].rfind('\n').map_or(0, |at| at + 1);
        let to = self.text[end..].find('\n').map_or(self.text.len(), |at| end + at);
        let before = &self.text[from..to];
        let mut after = before.to_owned();
        for (range, text) in edits.iter().rev() {
            after.replace_range(range.start - from..range.end - from, text);
        }
        let flat = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let edits: Vec<_> = edits.iter().map(|(range, text)| (range.start, range.end, text)).collect();
        let line = self.text[..start].matches('\n').count() + 1;
        println!(
            "{}",
            serde_json::json!({"number": self.last, "file": self.file, "line": line, "before": flat(before), "after": flat(&after), "switch": switch, "edits": edits})
        );
        switch.then_some(self.last)
    }

    fn replace(&mut self, span: Span, text: &str, switch: bool) -> Option<usize> {
        self.change(vec![(span.byte_range(), text.to_owned())], switch)
    }

    /// A condition taken for its opposite.
    fn negate(&mut self, condition: &mut Expr) {
        if has_let(condition) {
            return;
        }
        let range = condition.span().byte_range();
        let edits = vec![(range.start..range.start, "!(".to_owned()), (range.end..range.end, ")".to_owned())];
        self.visit_expr_mut(condition);
        if let Some(n) = self.change(edits, true) {
            *condition = parse_quote!((#condition) != crate::mutant(#n));
        }
    }

    fn number(&mut self, lit: &syn::LitInt, switch: bool) -> Option<Expr> {
        let value: u128 = lit.base10_parse().ok()?;
        let more = format!("{}{}", value + 1, lit.suffix());
        let n = self.replace(lit.span(), &more, switch)?;
        let more = syn::LitInt::new(&more, lit.span());
        Some(parse_quote!((if crate::mutant(#n) { #more } else { #lit })))
    }
}

/// Whether a condition has a `let` in it, which can stand nowhere else.
fn has_let(expr: &Expr) -> bool {
    match expr {
        Expr::Let(_) => true,
        Expr::Binary(both) => has_let(&both.left) || has_let(&both.right),
        _ => false,
    }
}

/// Whether what has these attributes is a test, or what stands in for a feature that is not built.
fn is_passed_over(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|one| {
        let text = one.to_token_stream().to_string();
        one.path().is_ident("test") || ["cfg (test)", "cfg (all (test", "cfg (not (feature"].iter().any(|cfg| text.contains(cfg))
    })
}

/// The operator that takes the place of another.
fn other(op: &BinOp) -> Option<BinOp> {
    Some(match op {
        BinOp::Eq(_) => parse_quote!(!=),
        BinOp::Ne(_) => parse_quote!(==),
        BinOp::Lt(_) => parse_quote!(<=),
        BinOp::Le(_) => parse_quote!(<),
        BinOp::Gt(_) => parse_quote!(>=),
        BinOp::Ge(_) => parse_quote!(>),
        BinOp::And(_) => parse_quote!(||),
        BinOp::Or(_) => parse_quote!(&&),
        BinOp::Add(_) => parse_quote!(-),
        BinOp::Sub(_) => parse_quote!(+),
        BinOp::Mul(_) => parse_quote!(+),
        BinOp::Div(_) => parse_quote!(*),
        BinOp::Rem(_) => parse_quote!(/),
        BinOp::Shl(_) => parse_quote!(>>),
        BinOp::Shr(_) => parse_quote!(<<),
        BinOp::BitAnd(_) => parse_quote!(|),
        BinOp::BitOr(_) => parse_quote!(&),
        BinOp::BitXor(_) => parse_quote!(&),
        BinOp::AddAssign(_) => parse_quote!(-=),
        BinOp::SubAssign(_) => parse_quote!(+=),
        BinOp::ShlAssign(_) => parse_quote!(>>=),
        BinOp::ShrAssign(_) => parse_quote!(<<=),
        BinOp::BitOrAssign(_) => parse_quote!(&=),
        BinOp::BitAndAssign(_) => parse_quote!(|=),
        BinOp::BitXorAssign(_) => parse_quote!(|=),
        _ => return None,
    })
}

/// The method that takes the place of another.
fn twin(method: &str) -> Option<&'static str> {
    Some(match method {
        "is_some" => "is_none",
        "is_none" => "is_some",
        "any" => "all",
        "all" => "any",
        "min" => "max",
        "max" => "min",
        _ => return None,
    })
}

impl VisitMut for Mutator<'_> {
    fn visit_attribute_mut(&mut self, _: &mut Attribute) {}

    fn visit_type_mut(&mut self, _: &mut syn::Type) {}

    fn visit_item_mod_mut(&mut self, item: &mut syn::ItemMod) {
        if !is_passed_over(&item.attrs) {
            visit_mut::visit_item_mod_mut(self, item);
        }
    }

    fn visit_item_fn_mut(&mut self, item: &mut syn::ItemFn) {
        let constant = usize::from(item.sig.constness.is_some());
        self.constant += constant;
        if !is_passed_over(&item.attrs) {
            visit_mut::visit_item_fn_mut(self, item);
        }
        self.constant -= constant;
    }

    fn visit_impl_item_fn_mut(&mut self, item: &mut syn::ImplItemFn) {
        let constant = usize::from(item.sig.constness.is_some());
        self.constant += constant;
        if !is_passed_over(&item.attrs) {
            visit_mut::visit_impl_item_fn_mut(self, item);
        }
        self.constant -= constant;
    }

    fn visit_item_const_mut(&mut self, item: &mut syn::ItemConst) {
        self.constant += 1;
        visit_mut::visit_item_const_mut(self, item);
        self.constant -= 1;
    }

    fn visit_impl_item_const_mut(&mut self, item: &mut syn::ImplItemConst) {
        self.constant += 1;
        visit_mut::visit_impl_item_const_mut(self, item);
        self.constant -= 1;
    }

    fn visit_item_static_mut(&mut self, item: &mut syn::ItemStatic) {
        self.constant += 1;
        visit_mut::visit_item_static_mut(self, item);
        self.constant -= 1;
    }

    fn visit_variant_mut(&mut self, _: &mut syn::Variant) {}

    fn visit_expr_repeat_mut(&mut self, repeat: &mut syn::ExprRepeat) {
        self.visit_expr_mut(&mut repeat.expr);
        self.constant += 1;
        self.visit_expr_mut(&mut repeat.len);
        self.constant -= 1;
    }

    fn visit_pat_mut(&mut self, pat: &mut Pat) {
        self.constant += 1;
        match pat {
            Pat::Lit(literal) => {
                if let Lit::Int(int) = &literal.lit {
                    self.number(int, false);
                }
            }
            _ => visit_mut::visit_pat_mut(self, pat),
        }
        self.constant -= 1;
    }

    fn visit_arm_mut(&mut self, arm: &mut syn::Arm) {
        self.visit_pat_mut(&mut arm.pat);
        if let Some((_, guard)) = &mut arm.guard {
            self.negate(guard);
        }
        self.visit_expr_mut(&mut arm.body);
    }

    fn visit_stmt_mut(&mut self, stmt: &mut Stmt) {
        let whole = stmt.span().byte_range();
        visit_mut::visit_stmt_mut(self, stmt);
        let Stmt::Expr(expr, Some(_)) = &*stmt else { return };
        // A call for its effect, left out.
        if matches!(expr, Expr::Call(_) | Expr::MethodCall(_) | Expr::Try(_) | Expr::Assign(_))
            && let Some(n) = self.change(vec![(whole, String::new())], true)
        {
            *stmt = parse_quote!(if !crate::mutant(#n) { #stmt });
        }
    }

    fn visit_expr_mut(&mut self, expr: &mut Expr) {
        match expr {
            Expr::If(choice) if !has_let(&choice.cond) => {
                self.negate(&mut choice.cond);
                self.visit_block_mut(&mut choice.then_branch);
                if let Some((_, branch)) = &mut choice.else_branch {
                    self.visit_expr_mut(branch);
                }
                return;
            }
            // How much memory is set aside beforehand changes nothing that is done.
            Expr::Call(call) if call.func.to_token_stream().to_string().ends_with("with_capacity") => return,
            Expr::MethodCall(call) if call.method == "reserve" => return,
            Expr::Macro(call) if call.mac.path.is_ident("matches") => {
                let range = expr.span().byte_range();
                if let Some(n) = self.change(vec![(range.start..range.start, "!".to_owned())], true) {
                    *expr = parse_quote!((#expr != crate::mutant(#n)));
                }
                return;
            }
            _ => visit_mut::visit_expr_mut(self, expr),
        }
        let changed: Option<Expr> = match &*expr {
            Expr::Binary(both) if !has_let(expr) => other(&both.op).and_then(|op| {
                let n = self.replace(both.op.span(), &op.to_token_stream().to_string(), true)?;
                let (left, right) = (&both.left, &both.right);
                Some(parse_quote!((if crate::mutant(#n) { #left #op #right } else { #expr })))
            }),
            Expr::Unary(syn::ExprUnary { op: syn::UnOp::Not(not), expr: inner, .. }) => {
                self.replace(not.span(), "", true).map(|n| parse_quote!((if crate::mutant(#n) { #inner } else { #expr })))
            }
            Expr::Lit(syn::ExprLit { lit: Lit::Bool(lit), .. }) => {
                let text = if lit.value { "false" } else { "true" };
                self.replace(lit.span(), text, true).map(|n| parse_quote!((#lit != crate::mutant(#n))))
            }
            Expr::Lit(syn::ExprLit { lit: Lit::Int(lit), .. }) => self.number(lit, true),
            Expr::MethodCall(call) => {
                let Some(name) = twin(&call.method.to_string()) else { return };
                let n = self.replace(call.method.span(), name, true);
                let mut changed = call.clone();
                changed.method = syn::Ident::new(name, call.method.span());
                n.map(|n| parse_quote!((if crate::mutant(#n) { #changed } else { #expr })))
            }
            Expr::Range(range) => {
                if let RangeLimits::Closed(_) = range.limits {
                    self.replace(range.limits.span(), "..", false);
                }
                return;
            }
            _ => return,
        };
        if let Some(changed) = changed {
            *expr = changed;
        }
    }
}

fn main() {
    let mut args = env::args().skip(1);
    let folder = args.next().expect("a folder");
    let skip = args.next().expect("numbers").split(',').filter_map(|number| number.parse().ok()).collect();
    let mut last = 0;
    for file in args {
        let path = Path::new(&folder).join(&file);
        let text = fs::read_to_string(&path).expect("a source file");
        let mut tree = syn::parse_file(&text).expect("Rust");
        let mut mutator = Mutator { file: &file, text: &text, skip: &skip, last, constant: 0 };
        mutator.visit_file_mut(&mut tree);
        last = mutator.last;
        fs::write(path, tree.to_token_stream().to_string()).expect("a file that can be written");
    }
}
