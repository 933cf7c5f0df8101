// A second opinion on the vectors by the code that Go's checksum database runs on: golang.org/x/mod/sumdb note and tlog.
//
//	GO111MODULE=off GOPATH=/usr/share/gocode go run conformance/federation/go/main.go conformance/federation
//
// Prints one JSON line: for each file the number of cases and the names of those that came out otherwise. With "bench"
// as second word it prints inclusion proofs checked per second instead.
package main

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type answer struct {
	Cases     int      `json:"cases"`
	Otherwise []string `json:"otherwise"`
}

func (a *answer) add(name string, same bool) {
	a.Cases++
	if !same {
		a.Otherwise = append(a.Otherwise, name)
	}
}

func load(name string, into any) {
	data, err := os.ReadFile(filepath.Join(os.Args[1], name))
	if err == nil {
		err = json.Unmarshal(data, into)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
}

func hash(data []byte) (h tlog.Hash) {
	copy(h[:], data)
	return h
}

func hashes(list [][]byte) []tlog.Hash {
	found := make([]tlog.Hash, len(list))
	for i, data := range list {
		found[i] = hash(data)
	}
	return found
}

// A cosignature key (type 4), which sumdb does not know: the signature is eight bytes of time and an Ed25519 signature.
type witness struct {
	name string
	id   uint32
	key  ed25519.PublicKey
	time *int64
}

func (w witness) Name() string    { return w.name }
func (w witness) KeyHash() uint32 { return w.id }
func (w witness) Verify(text, signature []byte) bool {
	if len(signature) != 8+ed25519.SignatureSize {
		return false
	}
	at := int64(binary.BigEndian.Uint64(signature))
	signed := fmt.Sprintf("cosignature/v1\ntime %d\n%s", at, text)
	if !ed25519.Verify(w.key, []byte(signed), signature[8:]) {
		return false
	}
	*w.time = at
	return true
}

func newWitness(vkey string) (witness, error) {
	parts := strings.SplitN(vkey, "+", 3)
	if len(parts) != 3 {
		return witness{}, errors.New("malformed verifier key")
	}
	material, err := base64.StdEncoding.DecodeString(parts[2])
	if err != nil || len(material) != 33 || material[0] != 4 {
		return witness{}, errors.New("no cosignature key")
	}
	sum := sha256.Sum256([]byte(parts[0] + "\n" + string(material)))
	id := binary.BigEndian.Uint32(sum[:])
	if fmt.Sprintf("%08x", id) != parts[1] {
		return witness{}, errors.New("the id is not that key's")
	}
	return witness{parts[0], id, material[1:], new(int64)}, nil
}

var size = regexp.MustCompile(`^(0|[1-9][0-9]*)$`)

// checkpoint says whether the log signed it, and the witness's time.
func checkpoint(data []byte, logKey, witnessKey string) (bool, *int64) {
	log, err := note.NewVerifier(logKey)
	if err != nil {
		return false, nil
	}
	seen, err := newWitness(witnessKey)
	if err != nil {
		return false, nil
	}
	opened, err := note.Open(data, note.VerifierList(log, seen))
	if err != nil {
		return false, nil
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[0] != log.Name() || !size.MatchString(lines[1]) {
		return false, nil
	}
	if root, err := base64.StdEncoding.DecodeString(lines[2]); err != nil || len(root) != tlog.HashSize {
		return false, nil
	}
	signed := false
	var at *int64
	for _, s := range opened.Sigs {
		signed = signed || s.Hash == log.KeyHash()
		if s.Hash == seen.KeyHash() {
			at = seen.time
		}
	}
	return signed, at
}

func notes() *answer {
	var file struct {
		Log, Witness string
		Cases        []struct {
			Name        string
			Checkpoint  []byte
			Verifies    bool
			WitnessedAt *int64 `json:"witnessed_at"`
		}
	}
	load("notes.json", &file)
	result := &answer{Otherwise: []string{}}
	for _, c := range file.Cases {
		signed, at := checkpoint(c.Checkpoint, file.Log, file.Witness)
		same := signed == c.Verifies && (at == nil) == (c.WitnessedAt == nil)
		result.add(c.Name, same && (at == nil || *at == *c.WitnessedAt))
	}
	return result
}

type inclusion struct {
	Size, Index int64
	Leaf, Root  []byte
	Path        [][]byte
	Holds       bool
}

type merkle struct {
	Roots       map[string][]byte
	Inclusion   []inclusion
	Consistency []struct {
		Old, New int64
		OldRoot  []byte `json:"old_root"`
		NewRoot  []byte `json:"new_root"`
		Proof    [][]byte
		Holds    bool
	}
}

// stored is a whole tree in the order of sumdb.
type stored []tlog.Hash

func (s stored) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	found := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		found[i] = s[index]
	}
	return found, nil
}

func tree(count int64) (s stored) {
	for i := int64(0); i < count; i++ {
		more, err := tlog.StoredHashes(i, []byte("entry "+strconv.FormatInt(i, 10)), s)
		if err != nil {
			panic(err)
		}
		s = append(s, more...)
	}
	return s
}

func proofs(s stored) (roots, included, consistent *answer) {
	var file merkle
	load("merkle.json", &file)
	roots, included, consistent = &answer{Otherwise: []string{}}, &answer{Otherwise: []string{}}, &answer{Otherwise: []string{}}
	for text, want := range file.Roots {
		n, _ := strconv.ParseInt(text, 10, 64)
		root := tlog.Hash(sha256.Sum256(nil)) // sumdb leaves the root of nothing open
		if n > 0 {
			root, _ = tlog.TreeHash(n, s)
		}
		roots.add(text, root == hash(want))
	}
	for _, c := range file.Inclusion {
		err := tlog.CheckRecord(hashes(c.Path), c.Size, hash(c.Root), c.Index, hash(c.Leaf))
		included.add(fmt.Sprint(c.Index, " of ", c.Size), (err == nil) == c.Holds)
	}
	for _, c := range file.Consistency {
		err := tlog.CheckTree(hashes(c.Proof), c.New, hash(c.NewRoot), c.Old, hash(c.OldRoot))
		consistent.add(fmt.Sprint(c.Old, " in ", c.New), (err == nil) == c.Holds)
	}
	return roots, included, consistent
}

func tiles(s stored) *answer {
	var file struct{ Trees map[string]map[string]string }
	load("tiles.json", &file)
	result := &answer{Otherwise: []string{}}
	for text, want := range file.Trees {
		n, _ := strconv.ParseInt(text, 10, 64)
		// This version of sumdb lists every width that a growing tile has had; the widest is the tree's.
		widest := map[[2]int64]tlog.Tile{}
		for _, tile := range tlog.NewTiles(8, 0, n) {
			widest[[2]int64{int64(tile.L), tile.N}] = tile
		}
		made := map[string]string{}
		for _, tile := range widest {
			data, err := tlog.ReadTileData(tile, s)
			if err != nil {
				panic(err)
			}
			sum := sha256.Sum256(data)
			// sumdb writes the height into the path, tlog-tiles does not.
			made[strings.Replace(tile.Path(), "tile/8/", "tile/", 1)] = hex.EncodeToString(sum[:])
		}
		for path, digest := range want {
			result.add(text+" "+path, made[path] == digest)
		}
		result.add(text+" number of tiles", len(made) == len(want))
	}
	return result
}

func bench() {
	var file merkle
	load("merkle.json", &file)
	var good []inclusion
	for _, c := range file.Inclusion {
		if c.Holds && c.Size == 65537 {
			good = append(good, c)
		}
	}
	done := 0
	for began := time.Now(); ; {
		for _, c := range good {
			if tlog.CheckRecord(hashes(c.Path), c.Size, hash(c.Root), c.Index, hash(c.Leaf)) != nil {
				panic("a good proof does not hold")
			}
			done++
		}
		if spent := time.Since(began); spent > time.Second {
			fmt.Printf("{\"proofs_per_s\":%.0f}\n", float64(done)/spent.Seconds())
			return
		}
	}
}

func main() {
	if len(os.Args) > 2 && os.Args[2] == "bench" {
		bench()
		return
	}
	s := tree(65537)
	roots, included, consistent := proofs(s)
	json.NewEncoder(os.Stdout).Encode(map[string]*answer{
		"notes.json":              notes(),
		"merkle.json roots":       roots,
		"merkle.json inclusion":   included,
		"merkle.json consistency": consistent,
		"tiles.json":              tiles(s),
	})
}
