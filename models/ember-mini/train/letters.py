"""What customers write, in English and Chinese, generated from patterns of our own: (text, label of data.LABELS["cs"]).

The reference texts have such letters in Chinese alone; English ones with the same six labels teach that the labels
mean the same in both languages. Deterministic by seed.
"""

import random

THINGS = [  # (English, Chinese): what letters are about
    ("parcel", "包裹"), ("order", "订单"), ("delivery", "配送"), ("washing machine", "洗衣机"), ("phone", "手机"), ("laptop", "笔记本电脑"),
    ("headphones", "耳机"), ("shoes", "鞋子"), ("dress", "裙子"), ("sofa", "沙发"), ("room", "房间"), ("breakfast", "早餐"),
    ("ticket", "车票"), ("flight", "航班"), ("train", "火车"), ("invoice", "发票"), ("account", "账户"), ("credit card", "信用卡"),
    ("app", "应用"), ("website", "网站"), ("internet connection", "宽带"), ("router", "路由器"), ("subscription", "会员"), ("course", "课程"),
    ("fridge", "冰箱"), ("air conditioner", "空调"), ("heater", "热水器"), ("lift", "电梯"), ("printer", "打印机"), ("television", "电视"),
    ("coffee", "咖啡"), ("pizza", "披萨"), ("soup", "汤"), ("book", "书"), ("toy", "玩具"), ("bicycle", "自行车"), ("car", "汽车"),
    ("insurance", "保险"), ("contract", "合同"), ("appointment", "预约"), ("parking space", "停车位"), ("gym", "健身房"),
    ("coupon", "优惠券"), ("gift card", "礼品卡"), ("power bank", "充电宝"), ("lamp", "台灯"), ("door lock", "门锁"), ("tap", "水龙头"),
]
WHO = [("driver", "司机"), ("courier", "快递员"), ("waiter", "服务员"), ("receptionist", "前台"), ("agent on the phone", "客服"),
       ("technician", "师傅"), ("shop assistant", "店员"), ("manager", "经理"), ("doctor", "医生"), ("teacher", "老师")]
EN = {
    "投诉": (["", "", "I am very disappointed. ", "This is unacceptable. ", "I am really angry: ", "I want to complain. ", "Terrible service! ", "Honestly, "],
           ["the {t} arrived broken and nobody answers", "the {w} was rude to me and hung up", "I have been waiting two weeks for the {t} and nothing happens",
            "you charged me twice for the {t}", "the {t} is dirty and smells bad", "this is the third time the {t} is wrong", "the {w} ignored us for an hour",
            "nobody called me back about the {t} as promised", "the {t} you sent is not what the picture shows", "my {t} is late again and no one apologises",
            "the {w} threw my {t} on the floor", "I was lied to about the {t}", "your {t} is a fraud", "the quality of the {t} is awful",
            "after one day the {t} fell apart", "nobody picks up at your hotline", "the {w} shouted at my mother"],
           ["", ".", "!", ", this is ridiculous.", ", I am fed up.", ". I expect an explanation.", ". Never again!", ", shame on you."]),
    "咨询": (["", "", "", "Hello, ", "Hi, ", "Quick question: ", "Excuse me, ", "Could you tell me ", "I would like to know: "],
           ["how much does the {t} cost", "is the shop open on Sundays", "how long does the {t} take", "can I change my {t}", "is the {t} available in blue",
            "where can I find the {t}", "do you ship the {t} abroad", "which documents do I need for the {t}", "does the {t} come with a warranty",
            "what is the difference between the two {t} offers", "how do I activate the {t}", "may I bring a child", "can I pay for the {t} in instalments",
            "is the {t} included in the price", "who do I talk to about the {t}", "until when can I cancel the {t}", "where is the nearest branch",
            "do you have a branch near the station", "what size should I order"],
           ["?", "?", "?", "? Thanks.", "? Thank you in advance.", ""]),
    "建议": (["", "", "I suggest that ", "A small suggestion: ", "It would be nice if ", "An idea: ", "It would be great if ", "In my opinion "],
           ["you should add more colours for the {t}", "you could offer the {t} on weekends, too", "please consider larger letters on the {t}", "the {t} should have a search function",
            "please make the {t} easier to find", "you could let people rate the {t}", "there should be more seats near the {t}", "the {t} could be cheaper for students",
            "please put a sign next to the {t}", "it might help to send a message before the {t} comes", "more tills at noon would be good",
            "you might sort the list by date", "the {w} could wear a name badge", "please offer vegetarian dishes as well", "the menu should be in two languages"],
           [".", ".", ", that would help a lot.", ", I would use it every day.", ". Just a thought.", ""]),
    "表扬": (["", "", "Thank you! ", "I just want to say: ", "Wow, ", "Many thanks, ", "Great job! ", "Five stars: "],
           ["the {w} was so friendly and helpful", "the {t} is wonderful, I love it", "the {t} came a day early and well packed", "the {w} solved my problem in five minutes",
            "the best {t} I have ever had", "everything about the {t} was perfect", "your {w} deserves a raise", "I am very happy with the {t}",
            "the {t} works perfectly", "such a pleasant stay, we will come back", "excellent quality and fair price", "the new {t} is beautiful, well done"],
           [".", "!", "! Keep it up.", ", thank you so much.", ", highly recommended.", ""]),
    "报修": (["", "", "Please help, ", "Hello, ", "We need a technician: ", "Please send someone, "],
           ["the {t} does not switch on any more", "the {t} leaks water", "the {t} makes a strange noise", "the screen of the {t} stays black", "the {t} stopped working this morning",
            "the {t} is broken and has to be repaired", "the button of the {t} is stuck", "the {t} shows an error code", "there is no hot water, please repair the {t}",
            "the battery of the {t} no longer charges", "the {t} needs fixing", "the light in the corridor is out", "the {t} gets too hot and switches off"],
           [".", ", can somebody come and fix it?", ". When can you repair it?", ", please repair it soon.", "!", ""]),
    "退款": (["", "", "Hello, ", "Please, ", "I changed my mind: ", "As agreed, "],
           ["I want my money back for the {t}", "please refund the {t}", "I returned the {t} and still have no refund", "when will the money for the {t} be paid back",
            "I would like to send the {t} back and get a refund", "please cancel the {t} and return the payment", "the refund of the {t} has not arrived in my bank account",
            "I ask for a full refund of the {t}", "how do I get my money back for the {t}", "refund me the difference for the {t}", "you still owe me the money for the {t}"],
           [".", "?", ", please.", ". I sent it back last week.", "!", ""]),
}
ZH = {
    "投诉": (["", "", "太失望了,", "太过分了!", "我要投诉,", "气死我了,", "真是受够了,", "你们怎么回事?"],
           ["{t}送来就是坏的,联系谁都没人理", "{w}态度恶劣,还挂我电话", "{t}等了两个星期还没消息", "{t}重复扣了我两次钱", "{t}又脏又臭", "{t}已经第三次弄错了",
            "{w}让我们白等了一个小时", "说好给我回电话谈{t}的事,到现在没人管", "收到的{t}跟图片完全不一样", "{t}又迟到了,连句道歉都没有", "{w}把我的{t}摔在地上",
            "关于{t}你们骗了我", "{t}质量太差了", "{t}用了一天就散架了", "打客服电话一直占线", "{w}对我妈妈大喊大叫"],
           ["", "。", "!", ",太离谱了。", ",必须给个说法!", ",再也不来了。"]),
    "咨询": (["", "", "", "您好,", "请问", "请问一下,", "想问问,", "麻烦问一下,"],
           ["{t}多少钱", "周日开门吗", "{t}需要多久", "{t}可以改吗", "{t}有蓝色的吗", "{t}在哪里能找到", "{t}能寄到国外吗", "办{t}需要什么材料", "{t}有保修吗",
            "这两种{t}有什么区别", "{t}怎么激活", "可以带小孩吗", "{t}能分期付款吗", "价格里包含{t}吗", "{t}的事找谁", "{t}最晚什么时候能取消", "最近的门店在哪里",
            "车站附近有分店吗", "我该选多大的尺码"],
           ["?", "?", "?谢谢。", "呢?", ""]),
    "建议": (["", "", "建议", "提个小建议,", "希望", "要是能改进就好了,", "有个想法,"],
           ["{t}多出几种颜色", "周末也能提供{t}", "{t}的字可以大一点", "{t}加上搜索功能", "把{t}放在更显眼的地方", "让大家可以给{t}打分", "{t}旁边多放些座位", "{t}给学生便宜一点",
            "在{t}旁边立个牌子", "{t}送到之前先发条短信", "中午多开几个收银台", "列表按日期排序", "{w}可以戴上名牌", "多提供一些素菜", "菜单用两种语言写"],
           ["", "。", ",会方便很多。", ",这样更好。", ",仅供参考。"]),
    "表扬": (["", "", "谢谢你们!", "想说一句,", "哇,", "非常感谢,", "太棒了!", "五星好评,"],
           ["{w}又热情又耐心", "{t}特别好,我很喜欢", "{t}提前一天到,包装也很好", "{w}五分钟就解决了问题", "这是我用过最好的{t}", "{t}的一切都很完美", "{w}应该加工资",
            "对{t}非常满意", "{t}用起来很顺手", "住得很舒服,下次还来", "质量好价格也公道", "新的{t}真漂亮,做得好"],
           ["", "。", "!", ",继续保持!", ",强烈推荐。"]),
    "报修": (["", "", "麻烦派人来,", "您好,", "需要师傅上门,", "请帮忙,"],
           ["{t}打不开机了", "{t}漏水", "{t}有奇怪的响声", "{t}的屏幕一直是黑的", "{t}今天早上突然不工作了", "{t}坏了,需要维修", "{t}的按钮卡住了", "{t}显示故障代码",
            "没有热水,请修一下{t}", "{t}的电池充不进电", "{t}需要修理", "走廊的灯不亮了", "{t}太烫,自动关机"],
           ["", "。", ",能来修一下吗?", ",什么时候能修?", ",请尽快修理。"]),
    "退款": (["", "", "您好,", "请", "我不想要了,", "按照约定,"],
           ["{t}的钱退给我", "把{t}退款", "{t}已经退回去了,还没收到退款", "{t}的钱什么时候退", "我想把{t}退掉并退款", "取消{t},把钱退回来", "{t}的退款一直没到账", "要求{t}全额退款",
            "{t}怎么申请退款", "{t}的差价退给我", "你们还欠我{t}的钱"],
           ["", "。", "?", ",谢谢。", ",上周已经寄回了。"]),
}


def letters(seed, each=400):
    """`each` letters of a label and language."""
    random_, out = random.Random(seed), []
    for column, table in ((0, EN), (1, ZH)):
        for label, (begin, middle, end) in table.items():
            some = set()
            while len(some) < each:
                text = random_.choice(begin) + random_.choice(middle) + random_.choice(end)
                text = text.replace("{t}", random_.choice(THINGS)[column]).replace("{w}", random_.choice(WHO)[column])
                some.add(text[0].upper() + text[1:] if random_.random() < 0.8 else text)
            out += [(text, label) for text in sorted(some)]
    return out
