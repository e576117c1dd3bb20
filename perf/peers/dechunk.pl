#!/usr/bin/env perl
# The body of a chunked HTTP response, or as much of it as is there: dechunk.pl FILE
# In place of our own code, which it helps to check.
use strict;
use warnings;

local $/;
binmode STDOUT;
open my $file, '<:raw', $ARGV[0] or die "$ARGV[0]: $!\n";
my $rest = <$file>;
$rest =~ s/^HTTP.*?\r\n\r\n//s or die "$ARGV[0]: no response head\n";
while ($rest =~ s/^([0-9a-f]+)\r\n//i && (my $size = hex $1)) {
    print substr $rest, 0, $size, '';
    $rest =~ s/^\r\n//;
}
