"""The names of image formats that `decode` does not read, by the first bytes of a file."""

# (offset, bytes, name). Most of them are in PRONOM, the registry of The National Archives.
_SIGNATURES = (
    (0, b"\xff\x0a", "JPEG XL"),
    (0, b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
    (0, b"II\xbc", "JPEG XR"),
    (0, b"8BPS", "PSD"),
    (0, b"gimp xcf", "XCF"),
    (0, b"%PDF", "PDF"),
    (0, b"%!PS", "EPS"),
    (0, b"\xc5\xd0\xd3\xc6", "EPS"),
    (0, b"\0\0\1\0", "ICO"),
    (0, b"\0\0\2\0\0\0", "TGA"),
    (0, b"\0\0\x0a\0\0\0", "TGA"),
    (0, b"\0\0\2\0", "CUR"),
    (0, b"icns", "ICNS"),
    (0, b"DDS ", "DDS"),
    (0, b"v/1\1", "OpenEXR"),
    (0, b"#?RADIANCE", "Radiance HDR"),
    (0, b"#?RGBE", "Radiance HDR"),
    (0, b"qoif", "QOI"),
    (0, b"FLIF", "FLIF"),
    (0, b"BPG\xfb", "BPG"),
    (0, b"\x8aMNG", "MNG"),
    (0, b"\x8bJNG", "JNG"),
    (0, b"AT&TFORM", "DjVu"),
    (0, b"SIMPLE  =", "FITS"),
    (0, b"\xd7\xcd\xc6\x9a", "WMF"),
    (0, b"/* XPM */", "XPM"),
    (0, b"\x59\xa6\x6a\x95", "Sun raster"),
    (40, b" EMF", "EMF"),
    (128, b"DICM", "DICOM"),
    (4, b"ftypcrx ", "camera raw"),  # Canon CR3
    (0, b"II\x1a\0\0\0HEAPCCDR", "camera raw"),  # Canon CRW
    (0, b"FUJIFILMCCD-RAW", "camera raw"),  # Fujifilm RAF
    (0, b"IIRO", "camera raw"),  # Olympus ORF
    (0, b"IIRS", "camera raw"),
    (0, b"MMOR", "camera raw"),
    (0, b"IIU\0", "camera raw"),  # Panasonic RW2
    (0, b"FOVb", "camera raw"),  # Sigma X3F
    (0, b"\0MRM", "camera raw"),  # Minolta MRW
)
_HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs")  # ISO/IEC 23008-12, annex B


def is_avif(data: bytes) -> bool:
    """Whether a file is an AVIF picture or sequence."""
    return bool({b"avif", b"avis"} & _brands(data))


def is_heic(data: bytes) -> bool:
    """Whether a file is HEIC, or HEIF with another codec than AVIF's."""
    return bool({*_HEIC, b"mif1", b"msf1"} & _brands(data)) and not is_avif(data)


def _brands(data: bytes) -> set[bytes]:
    """The brands in the first box of a file (ISO/IEC 14496-12, 4.3); none for other files."""
    if data[4:8] != b"ftyp":
        return set()
    end = min(int.from_bytes(data[:4], "big"), 256)
    return {data[8:12], *(data[at : at + 4] for at in range(16, end, 4))}


def _is_svg(data: bytes) -> bool:
    start = data[: 1 << 16].lower()
    return start.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<") and b"<svg" in start and b"<html" not in start


def name_of(data: bytes) -> str:
    """The name of a format that `decode` does not read; empty if the file has another format or is no image."""
    for offset, signature, name in _SIGNATURES:
        if data.startswith(signature, offset):
            return name
    return "SVG" if _is_svg(data) else ""
