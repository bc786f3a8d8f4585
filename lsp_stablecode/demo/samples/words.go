// Package words counts the words of a text.
package words

import (
	"sort"
	"strings"
)

// Count is a word and how often it was seen.
type Count struct {
	Word  string
	Times int
}

// Tally returns how often each word of text is in it, whatever its case.
func Tally(text string) map[string]int {
	tally := make(map[string]int)
	for _, word := range strings.Fields(text) {
		word = strings.ToLower(strings.Trim(word, ".,;:!?()"))
		tally[word]++
	}
	return tally
}

// Top returns the n most frequent words, the most frequent one first.
func Top(tally map[string]int, n int) []Count {
	counts := make([]Count, 0, len(tally))
	for word, times := range tally {
		counts = append(counts, Count{word, times})
	}
	sort.Slice(counts, func(i, j int) bool {
	})
	return counts[:min(n, len(counts))]
}
