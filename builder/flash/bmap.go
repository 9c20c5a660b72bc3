package flash

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
)

// maxBmap bounds a block map. One of a 64 GiB image with every other block
// mapped has about a million lines, which nobody writes.
const maxBmap = 16 << 20

// bmapFile is a block map of version 2.0 [bmaptool, "bmap file format"].
type bmapFile struct {
	XMLName      xml.Name `xml:"bmap"`
	Version      string   `xml:"version,attr"`
	ImageSize    string   `xml:"ImageSize"`
	BlockSize    string   `xml:"BlockSize"`
	ChecksumType string   `xml:"ChecksumType"`
	FileChecksum string   `xml:"BmapFileChecksum"`
	Ranges       []struct {
		Sum   string `xml:"chksum,attr"`
		Range string `xml:",chardata"`
	} `xml:"BlockMap>Range"`
}

// digest is what a SHA-256 looks like.
var digest = regexp.MustCompile(`^[0-9a-f]{64}$`)

// ParseBmap reads a block map and checks its own checksum.
func ParseBmap(data []byte) (Map, error) {
	var f bmapFile
	if len(data) > maxBmap {
		return Map{}, fmt.Errorf("block map: larger than %d bytes", maxBmap)
	}
	if err := xml.Unmarshal(data, &f); err != nil {
		return Map{}, fmt.Errorf("block map: %w", err)
	}
	if !strings.HasPrefix(f.Version, "2.") {
		return Map{}, fmt.Errorf("block map: version %q; 2.0 is read\nfix: make it anew with bmaptool create, or go without: --bmap none", f.Version)
	}
	if kind := strings.TrimSpace(f.ChecksumType); kind != "sha256" {
		return Map{}, fmt.Errorf("block map: checksums of type %q; sha256 is read", kind)
	}
	// The sum is that of the file with zeros in place of the sum.
	sum := strings.TrimSpace(f.FileChecksum)
	if !digest.MatchString(sum) {
		return Map{}, fmt.Errorf("block map: its checksum %q is no SHA-256", sum)
	}
	blank := bytes.Replace(data, []byte(sum), bytes.Repeat([]byte("0"), len(sum)), 1)
	if got := sha256.Sum256(blank); hex.EncodeToString(got[:]) != sum {
		return Map{}, fmt.Errorf("block map: the checksum of the file itself is wrong; it was changed or cut short")
	}
	size, err := number(f.ImageSize, maxImage)
	if err != nil {
		return Map{}, fmt.Errorf("block map: ImageSize: %w", err)
	}
	block, err := number(f.BlockSize, 1<<20)
	if err != nil || block < sectorSize || block%sectorSize != 0 {
		return Map{}, fmt.Errorf("block map: BlockSize %q is no size of blocks", f.BlockSize)
	}
	m := Map{Size: size}
	for _, r := range f.Ranges {
		first, last, ranged := strings.Cut(strings.TrimSpace(r.Range), "-")
		if !ranged {
			last = first
		}
		a, err := number(first, maxImage/block)
		if err != nil {
			return Map{}, fmt.Errorf("block map: range %q: %w", r.Range, err)
		}
		b, err := number(last, maxImage/block)
		if err != nil || b < a {
			return Map{}, fmt.Errorf("block map: range %q ends before it begins", r.Range)
		}
		if r.Sum != "" && !digest.MatchString(r.Sum) {
			return Map{}, fmt.Errorf("block map: range %q: checksum %q is no SHA-256", r.Range, r.Sum)
		}
		m.Ranges = append(m.Ranges, Range{Start: a * block, Size: min((b+1)*block, size) - a*block, SHA256: r.Sum})
	}
	if err := m.check(); err != nil {
		return Map{}, fmt.Errorf("block map: %w", err)
	}
	return m, nil
}

// number reads a size, with or without spaces around.
func number(text string, most int64) (int64, error) {
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil || n < 0 || n > most {
		return 0, fmt.Errorf("%q is no number from 0 to %d", text, most)
	}
	return n, nil
}

// Bmap writes the block map of an image, as bmaptool reads it, hashing what is
// mapped.
func Bmap(m Map, image io.ReaderAt) ([]byte, error) {
	var b bytes.Buffer
	blank := strings.Repeat("0", 64)
	blocks := (m.Size + blockSize - 1) / blockSize
	var ranges bytes.Buffer
	mapped := int64(0)
	for _, r := range m.Ranges {
		first, last := r.Start/blockSize, (r.End()-1)/blockSize
		end := min((last+1)*blockSize, m.Size)
		h := sha256.New()
		if _, err := io.Copy(h, io.NewSectionReader(image, first*blockSize, end-first*blockSize)); err != nil {
			return nil, fmt.Errorf("block map: %w", err)
		}
		mapped += last - first + 1
		fmt.Fprintf(&ranges, "        <Range chksum=\"%x\"> %d-%d </Range>\n", h.Sum(nil), first, last)
	}
	fmt.Fprintf(&b, `<?xml version="1.0" ?>
<bmap version="2.0">
    <ImageSize> %d </ImageSize>
    <BlockSize> %d </BlockSize>
    <BlocksCount> %d </BlocksCount>
    <MappedBlocksCount> %d </MappedBlocksCount>
    <ChecksumType> sha256 </ChecksumType>
    <BmapFileChecksum> %s </BmapFileChecksum>
    <BlockMap>
%s    </BlockMap>
</bmap>
`, m.Size, blockSize, blocks, mapped, blank, ranges.String())
	sum := sha256.Sum256(b.Bytes())
	return bytes.Replace(b.Bytes(), []byte(blank), []byte(hex.EncodeToString(sum[:])), 1), nil
}
