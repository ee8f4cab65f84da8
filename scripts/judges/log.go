// Judge: the packages of Go's checksum database, golang.org/x/mod/sumdb/note and .../tlog.
// takes: store bundle
// flip: store audit/checkpoint 0
// flip: store audit/checkpoint -10
// flip: store audit/tile/entries/000.p/* 40
// flip: store audit/tile/0/000.p/* 0
// flip: store audit/tile/0/000.p/* -1
// flip: bundle data/log/checkpoint 0
// flip: bundle data/log/checkpoint -10
// flip: bundle data/runs/*/*/entries/000001.tlog-proof -200
// flip: bundle data/runs/*/*/entries/000002.json 40

// Of a store: the checkpoint is signed, all entries together give its root, every hash tile below it
// holds the hashes that it must, and each kept checkpoint is of a beginning of the same tree. Of a
// bundle: the checkpoint is signed, and each entry is proved in it.
package main

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// height of the tiles: 2^8 hashes each.
const height = 8

func must(err error) {
	if err != nil {
		fmt.Println("rejected:", err)
		os.Exit(1)
	}
}

func need(ok bool, format string, args ...interface{}) {
	if !ok {
		must(fmt.Errorf(format, args...))
	}
}

func read(path string) []byte {
	data, err := os.ReadFile(path)
	must(err)
	return data
}

func glob(parts ...string) []string {
	paths, err := filepath.Glob(filepath.Join(parts...))
	must(err)
	return paths
}

// verifiers are the keys in the environment, one a line, or else those that lie with what is judged.
func verifiers(paths []string) note.Verifiers {
	var keys []string
	if key := os.Getenv("KEY"); key != "" {
		keys = strings.Fields(key)
	} else {
		for _, path := range paths {
			keys = append(keys, strings.TrimSpace(string(read(path))))
		}
	}
	var list []note.Verifier
	for _, key := range keys {
		verifier, err := note.NewVerifier(key)
		must(err)
		list = append(list, verifier)
	}
	return note.VerifierList(list...)
}

// open reads a signed checkpoint: the key's name must be the log's.
func open(message []byte, known note.Verifiers) tlog.Tree {
	opened, err := note.Open(message, known)
	must(err)
	lines := strings.Split(opened.Text, "\n")
	need(len(lines) >= 4, "the checkpoint has too few lines")
	need(lines[0] == opened.Sigs[0].Name, "the checkpoint of %q is signed for %q", lines[0], opened.Sigs[0].Name)
	size, err := strconv.ParseInt(lines[1], 10, 64)
	must(err)
	root, err := tlog.ParseHash(lines[2])
	must(err)
	return tlog.Tree{N: size, Hash: root}
}

// file is a full tile's or bundle's bytes or, where there is none, those of the narrowest partial one
// that is wide enough.
func file(folder string, number int64, width int) ([]byte, error) {
	full := tlog.Tile{H: height, L: 0, N: number, W: 1 << height}
	path := filepath.Join(folder, strings.TrimPrefix(full.Path(), "tile/8/0/"))
	if data, err := os.ReadFile(path); err == nil {
		return data, nil
	}
	for ; width < 1<<height; width++ {
		if data, err := os.ReadFile(filepath.Join(path+".p", strconv.Itoa(width))); err == nil {
			return data, nil
		}
	}
	return nil, fmt.Errorf("no file for tile %d of %s", number, folder)
}

// tiles hands out the hash tiles of a store.
type tiles struct{ folder string }

func (tiles) Height() int                     { return height }
func (tiles) SaveTiles([]tlog.Tile, [][]byte) {}
func (t tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range wanted {
		data, err := file(filepath.Join(t.folder, strconv.Itoa(tile.L)), tile.N, tile.W)
		if err != nil {
			return nil, err
		}
		if len(data) < tile.W*tlog.HashSize {
			return nil, errors.New("a tile is too short")
		}
		all = append(all, data[:tile.W*tlog.HashSize])
	}
	return all, nil
}

// entries are the records of a store, the first so many.
func entries(folder string, size int64) [][]byte {
	var all [][]byte
	for number := int64(0); number<<height < size; number++ {
		width := size - number<<height
		if width > 1<<height {
			width = 1 << height
		}
		data, err := file(folder, number, int(width))
		must(err)
		for ; width > 0; width-- {
			need(len(data) >= 2, "bundle %d ends early", number)
			end := 2 + int(data[0])<<8 + int(data[1])
			need(len(data) >= end, "bundle %d ends early", number)
			all = append(all, data[2:end])
			data = data[end:]
		}
	}
	return all
}

func store(top string) {
	known := verifiers(glob(top, "audit/keys/*"))
	checkpoint, err := os.ReadFile(filepath.Join(top, "audit/checkpoint"))
	if err != nil {
		fmt.Println("not judged: the store has no checkpoint")
		os.Exit(77)
	}
	tree := open(checkpoint, known)
	var hashes []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(indexes))
		for at, index := range indexes {
			if index >= int64(len(hashes)) {
				return nil, errors.New("a hash that is not there yet")
			}
			out[at] = hashes[index]
		}
		return out, nil
	})
	records := entries(filepath.Join(top, "audit/tile/entries"), tree.N)
	for at, record := range records {
		more, err := tlog.StoredHashes(int64(at), record, reader)
		must(err)
		hashes = append(hashes, more...)
	}
	root, err := tlog.TreeHash(tree.N, reader)
	must(err)
	need(root == tree.Hash, "the entries give the root %s, the checkpoint says %s", root, tree.Hash)

	// The reader checks every tile that it takes a hash from against the root.
	verified := tlog.TileHashReader(tree, tiles{filepath.Join(top, "audit/tile")})
	for first := int64(0); first < tree.N; first += 1 << height {
		var indexes []int64
		for at := first; at < tree.N && at < first+1<<height; at++ {
			indexes = append(indexes, tlog.StoredHashIndex(0, at))
		}
		found, err := verified.ReadHashes(indexes)
		must(err)
		for at, hash := range found {
			need(hash == tlog.RecordHash(records[first+int64(at)]), "entry %d is not its hash", first+int64(at))
		}
	}
	kept := glob(top, "audit/anchors/*/checkpoint")
	for _, path := range kept {
		old := open(read(path), known)
		need(old.N <= tree.N, "%s is of a larger tree", path)
		if old.N == 0 {
			continue
		}
		proof, err := tlog.ProveTree(tree.N, old.N, verified)
		must(err)
		must(tlog.CheckTree(proof, tree.N, tree.Hash, old.N, old.Hash))
	}
	fmt.Printf("accepted: %d entries give the signed root, %d kept checkpoints lead to it\n", tree.N, len(kept))
}

func bundle(top string) {
	message := read(filepath.Join(top, "data/log/checkpoint"))
	tree := open(message, verifiers(glob(top, "data/log/keys/*.vkey")))
	proofs := glob(top, "data/runs/*/*/entries/*.tlog-proof")
	for _, path := range proofs {
		head, checkpoint, found := bytes.Cut(read(path), []byte("\n\n"))
		need(found && bytes.Equal(checkpoint, message), "%s leads to another checkpoint", path)
		lines := strings.Split(string(head), "\n")
		need(len(lines) >= 3 && lines[0] == "c2sp.org/tlog-proof@v1", "%s is no proof", path)
		entry, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(lines[1], "extra "))
		must(err)
		need(bytes.Equal(entry, read(strings.TrimSuffix(path, "tlog-proof")+"json")), "%s proves another entry", path)
		index, err := strconv.ParseInt(strings.TrimPrefix(lines[2], "index "), 10, 64)
		must(err)
		var proof tlog.RecordProof
		for _, line := range lines[3:] {
			hash, err := tlog.ParseHash(line)
			must(err)
			proof = append(proof, hash)
		}
		must(tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(entry)))
	}
	fmt.Printf("accepted: %d entries are proved in the signed tree of %d\n", len(proofs), tree.N)
}

func main() {
	top := os.Args[1]
	if _, err := os.Stat(filepath.Join(top, "bagit.txt")); err == nil {
		bundle(top)
	} else {
		store(top)
	}
}
