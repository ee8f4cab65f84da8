//! Packs that declare what no pack may do: each is refused, and the invariant is named.
