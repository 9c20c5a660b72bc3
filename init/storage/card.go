package storage

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// A Card is what an SD card or an eMMC says of itself, in sysfs below
// block/mmcblkN/device (Documentation/driver-api/mmc/mmc-dev-attrs.rst).
type Card struct {
	// Type is SD or MMC, the latter for eMMC too.
	Type string `json:"type"`
	// Name, Manufacturer and Made are the product's name, the number of its
	// maker and the month it was made in, as the card's register CID has them.
	// Cards that lie about one of these are common.
	Name         string `json:"name,omitempty"`
	Manufacturer string `json:"manufacturer,omitempty"`
	Made         string `json:"made,omitempty"`
	// Worn is the share of its life that an eMMC has used, in percent, rounded
	// up to tens, 110 for more than all; 0 when it does not say. SD cards do
	// not.
	Worn int `json:"worn,omitempty"`
	// Reserve is how an eMMC's spare blocks stand: normal, low or used up;
	// empty when it does not say.
	Reserve string `json:"reserve,omitempty"`
}

// The values of [Card.Reserve].
const (
	ReserveNormal = "normal"
	ReserveLow    = "low"
	ReserveGone   = "used up"
)

// wornOut is the share of its life from which a card is warned of, in percent.
const wornOut = 90

// maxAttribute is how much of an attribute is read; sysfs gives a page at most.
const maxAttribute = 256

// ReadCard reads what the card says whose disk is called disk, below sys;
// nil when the disk is no card.
func ReadCard(sys, disk string) *Card {
	read := func(name string) string {
		data, err := os.ReadFile(filepath.Join(sys, "class/block", disk, "device", name))
		if err != nil || len(data) > maxAttribute {
			return "" // not every card has every attribute
		}
		return strings.ToValidUTF8(strings.TrimSpace(string(data)), "?")
	}
	c := Card{Type: read("type"), Name: read("name"), Manufacturer: read("manfid"), Made: read("date")}
	// SDIO devices, as wireless ones, are no disks; others have no such type.
	if c.Type != "SD" && c.Type != "MMC" {
		return nil
	}
	c.Worn = worn(read("life_time"))
	c.Reserve = reserve(read("pre_eol_info"))
	return &c
}

// worn reads life_time: two numbers, of the two kinds of memory that an eMMC
// may have, 1 for up to 10 % and so on, 11 for more than all (JESD84-B51,
// section 7.4, DEVICE_LIFE_TIME_EST_TYP_A and _B).
func worn(text string) int {
	most := 0
	for _, field := range strings.Fields(text) {
		n, err := strconv.ParseUint(field, 0, 8)
		if err == nil && n <= 11 {
			most = max(most, int(n)*10)
		}
	}
	return most
}

// reserve reads pre_eol_info (JESD84-B51, section 7.4, PRE_EOL_INFO).
func reserve(text string) string {
	switch n, err := strconv.ParseUint(text, 0, 8); {
	case err != nil:
		return ""
	case n == 1:
		return ReserveNormal
	case n == 2:
		return ReserveLow
	case n == 3:
		return ReserveGone
	}
	return ""
}

// Warning says why the card should be replaced; empty when nothing tells so.
func (c *Card) Warning() string {
	if c == nil {
		return ""
	}
	var why []string
	switch {
	case c.Worn > 100:
		why = append(why, "more than its whole life is used")
	case c.Worn >= wornOut:
		why = append(why, fmt.Sprintf("up to %d %% of its life is used", c.Worn))
	}
	switch c.Reserve {
	case ReserveLow:
		why = append(why, "80 % of its spare blocks are used")
	case ReserveGone:
		why = append(why, "its spare blocks are used up")
	}
	return strings.Join(why, ", ")
}
