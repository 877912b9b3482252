//! The derive macros of tracewright.
#![forbid(unsafe_code)]

use proc_macro::TokenStream;
use proc_macro2::{Span, TokenStream as Tokens};
use quote::{format_ident, quote};
use syn::{Data, DeriveInput, Error, Field, Fields, Ident, Index, Result, parse_macro_input, parse_quote};

/// Derives `Tree` for a struct or an enum. A field with `#[tree(fixed)]` is fixed data and must be `Eq + Clone`.
#[proc_macro_derive(Tree, attributes(tree))]
pub fn derive_tree(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand(input).unwrap_or_else(Error::into_compile_error).into()
}

/// Derives `Tree`, under the name that networks use.
#[proc_macro_derive(Module, attributes(tree))]
pub fn derive_module(input: TokenStream) -> TokenStream {
    derive_tree(input)
}

fn expand(input: DeriveInput) -> Result<Tokens> {
    let name = &input.ident;
    let mut generics = input.generics.clone();
    for p in generics.type_params_mut() {
        p.bounds.push(parse_quote!(::tracewright::Tree));
    }
    let (impl_generics, type_generics, where_clause) = generics.split_for_impl();
    let [visit, visit_mut, map] = match &input.data {
        Data::Struct(s) => variant(&quote!(Self), None, &s.fields)?.map(|arm| quote!(match self { #arm })),
        Data::Enum(e) if e.variants.is_empty() => {
            return Err(Error::new(Span::call_site(), "an enum without variants cannot be a tree"));
        }
        Data::Enum(e) => {
            let mut arms: [Vec<Tokens>; 3] = Default::default();
            for v in &e.variants {
                let ident = &v.ident;
                let parts = variant(&quote!(Self::#ident), Some(ident), &v.fields)?;
                arms.iter_mut().zip(parts).for_each(|(all, one)| all.push(one));
            }
            arms.map(|arms| quote!(match self { #(#arms)* }))
        }
        Data::Union(_) => return Err(Error::new(Span::call_site(), "a union cannot be a tree")),
    };
    let of_type = match &input.data {
        Data::Struct(s) => of_type(&s.fields)?,
        _ => quote!(::core::option::Option::None),
    };
    Ok(quote! {
        #[automatically_derived]
        impl #impl_generics ::tracewright::Tree for #name #type_generics #where_clause {
            fn visit(&self, __v: &mut dyn ::tracewright::tree::Visit) { #visit }
            fn visit_mut(&mut self, __f: &mut dyn ::core::ops::FnMut(&mut ::tracewright::Tensor)) { #visit_mut }
            fn map(
                &self,
                __f: &mut dyn ::core::ops::FnMut(&::tracewright::Tensor) -> ::tracewright::Tensor,
            ) -> Self { #map }
            fn of_type(
                __leaf: &mut dyn ::core::ops::FnMut() -> ::tracewright::Tensor,
            ) -> ::core::option::Option<Self> { #of_type }
        }
        #[automatically_derived]
        impl #impl_generics ::tracewright::jacobian::Rows for #name #type_generics #where_clause {
            type Of<__A: ::tracewright::Tree> = ::std::vec::Vec<__A>;
            fn rows<__A: ::tracewright::Tree>(
                &self,
                __next: &mut dyn ::core::ops::FnMut() -> __A,
            ) -> ::std::vec::Vec<__A> {
                ::tracewright::Tree::leaves(self).iter().map(|_| __next()).collect()
            }
        }
    })
}

/// The match arms of one variant, or of a struct, for the three methods.
fn variant(path: &Tokens, name: Option<&Ident>, fields: &Fields) -> Result<[Tokens; 3]> {
    let mut bindings = Vec::new();
    let (mut visits, mut changes, mut maps) = (Vec::new(), Vec::new(), Vec::new());
    if let Some(name) = name {
        let text = name.to_string();
        visits.push(quote!(__v.fixed(::tracewright::tree::Fixed::Variant(#text));));
    }
    for (i, field) in fields.iter().enumerate() {
        let binding = format_ident!("__field{i}");
        let index = Index::from(i);
        let (member, step) = match &field.ident {
            Some(ident) => {
                let text = ident.to_string();
                let text = text.strip_prefix("r#").unwrap_or(&text).to_string();
                (quote!(#ident), quote!(::tracewright::tree::Step::Field(#text)))
            }
            None => (quote!(#index), quote!(::tracewright::tree::Step::Index(#i))),
        };
        bindings.push(quote!(#member: #binding));
        if is_fixed(field)? {
            visits.push(quote! {
                __v.enter(#step);
                __v.fixed(::tracewright::tree::Fixed::Data(#binding));
                __v.exit();
            });
            changes.push(quote!(let _ = #binding;));
            maps.push(quote!(#member: ::core::clone::Clone::clone(#binding)));
        } else {
            visits.push(quote! {
                __v.enter(#step);
                ::tracewright::Tree::visit(#binding, __v);
                __v.exit();
            });
            changes.push(quote!(::tracewright::Tree::visit_mut(#binding, __f);));
            maps.push(quote!(#member: ::tracewright::Tree::map(#binding, __f)));
        }
    }
    Ok([
        quote!(#path { #(#bindings),* } => { #(#visits)* }),
        quote!(#path { #(#bindings),* } => { #(#changes)* }),
        quote!(#path { #(#bindings),* } => #path { #(#maps),* },),
    ])
}

/// A struct whose fields are known by their types.
fn of_type(fields: &Fields) -> Result<Tokens> {
    let mut members = Vec::new();
    for (i, field) in fields.iter().enumerate() {
        if is_fixed(field)? {
            return Ok(quote!(::core::option::Option::None));
        }
        let index = Index::from(i);
        let member = field.ident.as_ref().map_or(quote!(#index), |ident| quote!(#ident));
        members.push(quote!(#member: ::tracewright::Tree::of_type(__leaf)?));
    }
    Ok(quote!(::core::option::Option::Some(Self { #(#members),* })))
}

fn is_fixed(field: &Field) -> Result<bool> {
    let mut fixed = false;
    for attribute in field.attrs.iter().filter(|a| a.path().is_ident("tree")) {
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("fixed") {
                fixed = true;
                return Ok(());
            }
            Err(meta.error("unknown option; there is `#[tree(fixed)]`"))
        })?;
    }
    Ok(fixed)
}
