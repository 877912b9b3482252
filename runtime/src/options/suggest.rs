//! Which known word an unknown one was meant to be.

/// The known word nearest to `word`, if it is near: one edit, or one in three letters. Case does not count.
pub fn suggest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let letters = |word: &str| word.to_lowercase().chars().collect::<Vec<char>>();
    let word = letters(word);
    let near = known.into_iter().map(|k| (distance(&word, &letters(k)), k)).min_by_key(|&(d, _)| d);
    near.filter(|&(d, _)| d <= (word.len() / 3).max(1)).map(|(_, k)| k)
}

/// Insertions, deletions, substitutions and swaps of neighbours that turn one into the other (optimal string alignment).
fn distance(a: &[char], b: &[char]) -> usize {
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = match (i, j) {
                (i, 0) => i,
                (0, j) => j,
                _ => {
                    let change = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                    let best = change.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
                    match i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                        true => best.min(rows[i - 2][j - 2] + 1),
                        false => best,
                    }
                }
            };
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        let d = |a: &str, b: &str| distance(&a.chars().collect::<Vec<_>>(), &b.chars().collect::<Vec<_>>());
        assert_eq!([d("", ""), d("", "abc"), d("abc", ""), d("LOG", "LOG")], [0, 3, 3, 0]);
        assert_eq!([d("LGO", "LOG"), d("kitten", "sitting"), d("fuse", "fus"), d("äb", "ab")], [1, 3, 1, 1]);
    }

    #[test]
    fn only_near_words() {
        let known = ["trace", "cache", "fusion"];
        assert_eq!(suggest("cahce", known), Some("cache"));
        assert_eq!(suggest("CACHE", known), Some("cache"));
        assert_eq!(suggest("fuson", known), Some("fusion"));
        assert_eq!(suggest("kernels", known), None);
        assert_eq!(suggest("", known), None);
        assert_eq!(suggest("x", []), None);
        assert_eq!(suggest(&"x".repeat(3000), ["y"]), None);
    }
}
