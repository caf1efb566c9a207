"""Words that say what a number counts and change nothing about it: 7 apples, 3 distinct real solutions."""

from __future__ import annotations

_MATHEMATICS = """answer arc area arrangement asymptote axes axis base bijection block case cell choice circle
coefficient column combination component cone configuration coordinate corner critical cube curve cycle cylinder
decimal denominator derivative diagonal diagram diameter digit dimension divisor edge element entry equation
equivalence event exponent expression face factor figure fixed form formula fraction function graph grid group height
hexagon hyperbola hypotenuse identity image index inequality inflection input integer intersection interval isomorphism
item iteration label lattice leg length letter line list local map mapping matrices matrix maxima maximum median member
minima minimum monomial move multiple node number numerator object operation order ordered orientation outcome output
pair palindrome parabola parallelogram parameter part partition path pattern pentagon perimeter period permutation
piece place plane point polygon polynomial position possibility power prime prism probability problem product pyramid
quadrilateral quadruple quotient radii radius rectangle reflection region remainder representation root rotation row
rule sample scalar section sector segment selection sequence set shape side sign slope solution sphere square state
step string subgroup subset subspace sum surface symmetries symmetry tangent term test tetrahedron theorem tile
trapezoid tree trial triangle trio triple tuple turn type unknown unordered value variable vector vertex vertices
volume way word year zero zeroes zeros"""
_PEOPLE = """actor adult applicant artist athlete author babies baby baker boy brother candidate captain cashier chef
child children citizen class classes classmate clown coach committee competitor contestant cook cousin customer dancer
daughter doctor driver employee engineer families family fan farmer father female fireman fish fisherman flight friend
gamer girl grader graduate guard guest human inhabitant judge junior kid king knight lady lawyer leader male man member
men mother musician neighbor nurse officer owner painter parent participant passenger patient people person pilot
player police politician principal programmer pupil queen reader resident rider runner sailor scientist seller senior
singer sister soldier son spectator student subscriber swimmer teacher team teenager tourist twin user viewer visitor
volunteer voter waiter woman women worker writer"""
_ANIMALS = """animal ant bear bee bird bug bull butterfly calf calves camel cat caterpillar chick chicken cow crab
crocodile deer dinosaur dog dolphin donkey dragon duck eagle elephant fish flies fly fox frog geese giraffe goat
goldfish goose hen hippo horse insect kangaroo kitten lamb leg lion lizard mice monkey mouse octopus owl ox oxen panda
parrot pet pig pigeon pony puppies puppy rabbit rat rooster shark sheep snail snake spider squirrel swan tail tiger
turkey turtle whale wing wolf wolves worm zebra"""
_THINGS = """album apartment app apple appointment apricot article atom aunt avocado backpack bacteria bacterium badge
bag bagel bale ball balloon banana bandage bap bar barrel basket bat batch bead beaker bean bed bedroom beer beetle
bell belt bench benches berry bicycle bid bike bill bite blanket block blog blueberry board boat bolt book bookcase
bookmark bottle bounce bouquet bowl box bracelet branch bread breakfast brick bridge broccoli brownie brush bucket
building bulb bunch burger burrito bus bush button byte cab cabbage cabin cacti cactus cage cake calendar call camera
can candies candle candy capsule car card carnation carrot cart carton castle cat ceiling cell cereal chair chapter
character check cherry chip chocolate chore cities city clap client clip clock cloth coach coat coconut coffee coin
collar color comic commercial competition computer concert contact container cookie copy corn costume country coupon
course cracker crate crayon credit crib croissant cucumber cup cupcake curtain cushion daisies daisy dance dap day
decision deck desk device diamond dice die dime dinner disc dish doll dollop donut door dose doughnut download drawer
dress drink drum dumpling earring egg eggplant electron elevator elf elves email envelope episode eraser exam exercise
experiment eye fairy fall fence ferries ferry festival field file finger firework fish flag flashlight flip floor
flower folder food football fork frame fries fruit game garden gate gem gene gift glass glove gnome goal gold grade
grain grape grapefruit guitar gumball ham hamburger hammer hamster hand handshake hat head heart helicopter helmet hit
hole holiday home hoodie hop hotdog hour house ice inning instruction interview invitation invitee ion iris island
issue jacket jar jersey jewel juice jump kernel key kick kiss kite knife knives ladder lamp land lap laptop leaf leaves
lecture lemon lesson letter level light lightbulb lilies lily lime load loaf loaves lock log lollipop lunch machine
magazine magnet mango map marble mark marshmallow mask mat match meal meatball medal meeting melon message milk minibus
mirror mistake model molecule month motorcycle movie muffin mug mushroom nail napkin necklace needle nephew neutron
newspaper nickel niece night noodle note notebook nucleon nut onion orange orchid outfit oven pack package packet page
paint painting pair pan pancake pants paper parcel park particle parties party pass pastry peach peanut pear pearl
pebble pen pencil pencilcase penguin pennies penny people pepper petal phone photo photograph photon piano picture pie
pill pillow pin pineapple pipe pitch pixel pizza plane plank plant plate play playlist plum pod pomegranate pool
popcorn popsicle portion post postcard poster pot potato practice present pretzel prize project proton pump pumpkin
punch purchase purse push pushup puzzle question quilt quiz quizzes race racquet radio raffle recipe report ribbon ride
ring road robot rock rocket roll room roommate rope rose round rower ruby rug ruler run sack sale sandal sandwich
sapphire sausage scarf scholarship school scissors scoop screw seashell season seat seed sentence serving session set
share shed sheet shelf shell shelves shift ship shirt shoe shop shot shovel show shrimp sibling sign signature signup
sitting skein skirt slice slide smore snack sneaker snowball sock soda sofa song spin spool spoon spot squash squat
stair stamp star station stick sticker stitch stitches stone stool stop store stories story strawberry street strike
stripe subway suit suitcase sunflower supper sweater swing syringe table tablet taco tadpole tank tap tape tart task
taxi teeth tent thorn throw ticket tie time tin tire token tomato tool tooth toothpick top toss towel town toy track
tractor train trainer tram trap tray treat tree tricycle trip trophy truck trumpet tshirt tub tulip uncle unit vacation
vaccine van vase vegetable vehicle vial video village violin virus visit vlog vote waffle wagon walk wall wallet wash
watch watermelon wave week wheel wheelchair widget win window wire wish wood yap yard yogurt"""
_QUALITIES = """additional adjacent all altogether apart apiece available black blue broken brown combined consecutive
different distinct distinguishable each every extra filled french fresh gray green indistinguishable individual left
leftover lost mixed new nonempty nonzero only orange other own packed paid pink planted possible potted purple red
remaining right root round shaded sold sweet tied together total unique unoccupied unshaded unsold unused used white
whole wooden yellow young"""
# Words that count nothing by themselves: 5 positive solutions, but not 5 positive.
_LINKS = """a an the of in on at for with per big complex congruent correct deep empty equal even full good heavy high
inner interior irrational isosceles large little long longer natural odd old original outer positive rational real
regular same short single small tall valid wide"""
LINKS = frozenset(_LINKS.split())
_KNOWN = frozenset(f"{_MATHEMATICS} {_PEOPLE} {_ANIMALS} {_THINGS} {_QUALITIES}".split())
_ENDINGS = (("", "s"), ("s", ""), ("es", ""), ("e", ""), ("ies", "y"), ("ie", "y"))


def is_counted(word: str) -> bool:
    """Whether a lower-case word, in either number, may be left out after a number."""
    if word in _KNOWN:
        return True
    return any(word.endswith(ending) and word.removesuffix(ending) + put in _KNOWN for ending, put in _ENDINGS)
